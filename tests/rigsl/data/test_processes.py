"""Processes of a computation end with the one that started them, whether they compute or wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from search.run_folder import ROOT

PARENT = """
import sys
from pathlib import Path
from rigsl.data.open.processes import in_processes
from tests.rigsl.data.test_processes import note_process
if __name__ == "__main__":
    jobs = [{"file": Path(sys.argv[1]) / name, "ends": name == "waits"} for name in ("waits", "computes")]
    in_processes(note_process, jobs, 2, "work", 2)
"""


def note_process(file: Path, ends: bool, on_steps: Callable[[int], object]) -> None:
    """A job that writes the number of its process, and ends or not."""
    file.with_suffix(".part").write_text(str(os.getpid()))
    file.with_suffix(".part").rename(file)
    while not ends:
        time.sleep(1)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_they_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    files = [tmp_path / "waits", tmp_path / "computes"]
    with subprocess.Popen(
        [sys.executable, "parent.py", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as parent:
        while not all(file.exists() for file in files):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    processes = {int(file.read_text()) for file in files}
    deadline = time.monotonic() + 60
    while left := [process for process in processes if _runs(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
