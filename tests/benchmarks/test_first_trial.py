"""Milestones are noted from outside, at the first call of the functions that a search passes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed import milestones
from benchmarks.speed.first_trial import kind

MODULES = {
    "run_search.py": (
        "import sys\nfrom search.plan.new_study import prepare\nfor word in sys.argv[1:]: prepare(word)\n"
    ),
    "search/__init__.py": "",
    "search/plan/__init__.py": "",
    "search/plan/new_study.py": "def prepare(word):\n    print('prepared', word)\n",
}


def test_the_milestones_of_any_checkout_are_noted_once(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    notes = tmp_path / "notes"
    done = subprocess.run(
        [sys.executable, milestones.__file__, str(tmp_path), str(notes), "one", "two"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["prepared one", "prepared two"]
    lines = [line.split("\t") for line in notes.read_text(encoding="utf-8").splitlines()]
    assert [name for name, _ in lines] == ["plan begun", "plan made"]
    assert float(lines[0][1]) <= float(lines[1][1])


class Process:
    def __init__(self, *words: str) -> None:
        self.words = words

    def cmdline(self) -> list[str]:
        return [*self.words]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("ray::TrialWorker",), "workers"),
        (("ray::IDLE",), "workers"),
        (("ray::DashboardAgent",), "agents"),
        (("python", "-I", "-S", "search/execution/ray_agent.py"), "agents"),
        (("python", "-u", "ray/_private/log_monitor.py"), "log monitor"),
        (("python", "-u", "ray/autoscaler/_private/monitor.py"), "monitor"),
        (("core/src/ray/raylet/raylet", "--python_worker_command=python default_worker.py"), "raylet"),
        (("core/src/ray/gcs/gcs_server",), "gcs_server"),
        (("sh",), "others"),
    ],
)
def test_processes_are_counted_by_what_they_are_for(words: tuple[str, ...], name: str) -> None:
    assert kind(Process(*words)) == name
