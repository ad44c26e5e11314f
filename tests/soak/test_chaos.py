"""The short form of `make chaos` (docs/reliability.md): kills of driver and workers, a lost terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.run_folder import ROOT

#: Those after which nothing but the record tells how far a study was.
KINDS = "driver SIGKILL,group SIGKILL,worker SIGKILL,driver SIGSTOP,worker SIGSTOP,terminal gone,clock step"


@pytest.mark.soak
def test_no_event_costs_a_study_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", "1", "--events", "20", "--kinds", KINDS]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "chaos")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
