"""optuna-dashboard shows a study while it runs, from a journal and from a database."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search import run_folder
from search.record import lock
from tests.helpers.loopback import free_port, get_json
from tests.helpers.played_study import PlayedStudy


def polls() -> Iterator[None]:
    """Up to a minute of attempts: the dashboard caches what it has read for some seconds."""
    for _ in range(300):
        yield
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("storage", "address"),
    [
        (None, lambda home: str(home / "runs" / "one" / "study.journal")),
        ("sqlite:///record.db", lambda home: f"sqlite:///{home}/record.db"),
    ],
)
def test_the_dashboard_shows_a_running_study(
    home: Path, storage: str | None, address: Callable[[Path], str]
) -> None:
    made, port = PlayedStudy(home, "http://127.0.0.1:9", storage=storage), free_port()
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    with lock.hold(made.folder / run_folder.LOCK):
        made.play([], 3, last="running")
        command = [program, "--server", "wsgiref", "--port", str(port), "--quiet", address(home)]
        dashboard = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            api = f"http://127.0.0.1:{port}/api/studies"
            (summary,) = get_json(api)["study_summaries"]
            assert summary["study_name"] == "one"
            detail = f"{api}/{summary['study_id']}"
            trials = get_json(detail)["trials"]
            assert [trial["state"] for trial in trials] == ["Pruned", "Complete", "Running"]
            curve = [(value["step"], value["value"]) for value in trials[2]["intermediate_values"]]
            assert curve == list(made.study.trials[2].intermediate_values.items())
            made.play([], 2)
            states = ["Pruned", "Complete", "Pruned", "Complete"]
            assert any([trial["state"] for trial in get_json(detail)["trials"]] == states for _ in polls())
        finally:
            dashboard.kill()
            dashboard.wait()
