"""A study whose own Ray loses a server, in a process of its own, which ends where it is stuck in Ray.

``python -m tests.helpers.lost_server SERVER epoch|end`` in the home of a toy study.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rigsl.errors import UserError, error_line
from search.run_folder import ROOT
from search.study import run
from tests.helpers.listeners import Bystander, ServerKiller, kill_server
from tests.helpers.toy_study import toy_plan
from tests.helpers.workers_here import keep_workers_here

STUDY = "s"


class KillerAtTheEnd(Bystander):
    """Kills a server when a trial has ended."""

    def __init__(self, number: int, server: str) -> None:
        self.number, self.server = number, server

    def finished(self, trial: Any, snapshot: Any) -> None:
        if trial.number == self.number:
            assert kill_server(self.server)


def run_and_lose(home: Path, server: str, when: str) -> subprocess.CompletedProcess[str]:
    """Run a study in `home` that loses `server` at an epoch, or at the end of its search."""
    command = [sys.executable, "-m", "tests.helpers.lost_server", server, when]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)


def main(server: str, when: str) -> int:
    """The process: its exit code and its sentence are those of the command."""
    if server == "gcs_server":  # a process that has put objects into its raylet's store ends with the raylet
        keep_workers_here(pytest.MonkeyPatch())
    at_epoch = when == "epoch"
    listener = ServerKiller(1, 1, server) if at_epoch else KillerAtTheEnd(1, server)
    options = {"trials": 3} if at_epoch else {"trials": 2, "finalists": 2}
    plan = toy_plan(Path.cwd(), workers=1, study=STUDY, scheduler="none", **options)
    try:
        run(plan, listeners=[listener])
    except UserError as error:
        print(error_line(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
