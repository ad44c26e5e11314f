"""The short form of `make chaos` (docs/reliability.md): kills, signals, a full disk, a clock step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.run_folder import ROOT


@pytest.mark.soak
def test_no_event_costs_a_study_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", "1", "--events", "30"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "chaos")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
