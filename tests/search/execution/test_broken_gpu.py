"""A study whose workers lose the use of their GPU: such a worker ends, its trial is tried once more."""

from pathlib import Path
from typing import Any

import pytest

from search.execution import tune_run
from search.execution.searcher import StudySearcher
from search.execution.trainable import TrialWorker
from search.record import record
from search.record.learning_curve import read_curve
from search.record.trial_report import TrialReport
from search.study import run
from tests.helpers.toy_study import toy_plan

pytestmark = pytest.mark.usefixtures("shared_ray")

REASON = "CUDA error: an illegal memory access was encountered"


class FragileWorker(TrialWorker):
    """The second epoch of trial 0 breaks its GPU once, that of trial 1 whenever it is trained."""

    works = True

    def _epoch(self) -> TrialReport:
        if not self.works:
            raise RuntimeError("CUDA error: whatever comes after the first one")
        report = super()._epoch()
        marker = self._folder.with_name(f"{self._folder.name}-broke")
        if report.epoch == 2 and (self._folder.name == "0001" or not marker.exists()):
            marker.touch()
            self.works = False
            raise RuntimeError(f"{REASON}\nCompile with TORCH_USE_CUDA_DSA to enable device-side assertions.")
        return report

    def _gpu_works(self) -> bool:
        return self.works


def test_a_worker_without_a_usable_gpu_costs_at_most_the_trial_that_breaks_it(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, int, int]] = []  # trial, process, epoch (0: the GPU is broken)
    hear = StudySearcher.on_trial_result

    def on_trial_result(searcher: StudySearcher, trial_id: str, result: dict[str, Any]) -> None:
        heard.append((searcher.live[trial_id].trial.number, result["pid"], result.get("epoch", 0)))
        hear(searcher, trial_id, result)

    monkeypatch.setattr(StudySearcher, "on_trial_result", on_trial_result)
    monkeypatch.setattr(tune_run, "TrialWorker", FragileWorker)
    plan = toy_plan(tracked_home, workers=1, trials=2, study="s", device="cpu", scheduler="none")
    outcome = run(plan)
    assert (outcome.counts["complete"], outcome.counts["failed"]) == (1, 1)
    first, second = record.begun(record.read_record(plan.folder))
    assert [line["epoch"] for line in read_curve(plan.folder / "trials" / "0000")] == [1, 2, 3, 4]
    assert sorted(first.intermediate_values) == [1, 2, 3, 4]
    assert second.user_attrs[record.REASON] == f"crashed: RuntimeError: {REASON}"
    broken = [process for _, process, epoch in heard if epoch == 0]
    assert [number for number, _, epoch in heard if epoch == 0] == [0, 1, 1]
    assert len(set(broken)) == 3, "none of them was used again"
