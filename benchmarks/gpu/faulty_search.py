"""``run_search.py`` with workers that fail: ``python -m benchmarks.gpu.faulty_search ARGUMENTS``.

In their second epoch, one trial takes all the memory of its share of the GPU, one breaks its worker's GPU
context once, and one does so whenever it is trained. On the CPU the workers only say so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from unittest.mock import patch

import torch

from search.execution.trainable import TrialWorker
from search.record.trial_report import TrialReport

#: Numbers of the trials that fail.
OUT_OF_MEMORY, BROKEN_ONCE, BROKEN_ALWAYS = 1, 2, 3


class FaultyWorker(TrialWorker):
    """A worker whose trials fail as the module says."""

    _works = True  #: the stand-in of a GPU on the CPU

    def _epoch(self) -> TrialReport:
        if not self._works:
            raise RuntimeError("CUDA error: whatever comes after the first one")
        report = super()._epoch()
        number = int(self._folder.name) if self._folder.name.isdigit() else -1
        if report.epoch == 2:
            marker = self._folder.with_name(f"{self._folder.name}-broke")
            if number == OUT_OF_MEMORY:
                self._fill_memory()
            elif number == BROKEN_ALWAYS or (number == BROKEN_ONCE and not marker.exists()):
                marker.touch()
                self._break()
        return report

    def _fill_memory(self) -> None:
        if self.options.device == "cpu":
            raise torch.OutOfMemoryError("stand-in of a GPU whose memory is full")
        taken = []
        while True:
            taken.append(torch.empty(2**28, dtype=torch.uint8, device="cuda"))

    def _break(self) -> None:
        """A device-side assert: an index outside a tensor."""
        if self.options.device == "cpu":
            self._works = False
            raise RuntimeError("CUDA error: stand-in of a device-side assert")
        torch.zeros(1, device="cuda")[torch.full((1,), 7, device="cuda")]
        torch.cuda.synchronize()

    def _gpu_works(self) -> bool:
        return self._works and super()._gpu_works()


def main(arguments: Sequence[str]) -> int:
    """Run the search; returns its exit code."""
    import run_search
    from search.execution import tune_run

    with patch.object(tune_run, "TrialWorker", FaultyWorker):
        return run_search.main(list(arguments))


if __name__ == "__main__":
    from benchmarks.gpu import faulty_search  # under its own name, by which workers find the class

    sys.exit(faulty_search.main(sys.argv[1:]))
