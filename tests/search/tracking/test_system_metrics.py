"""What the machine did meanwhile: MLflow gets the lines that the run folder has."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.run_folder import SCRATCH
from search.tracking.system_metrics import SystemMonitor, read_system


@pytest.mark.parametrize("there", [True, False])
def test_a_line_that_could_not_be_written_is_not_sent(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "one"
    if there:
        folder.mkdir()
    sent: list[dict] = []
    SystemMonitor(folder, 0.0, sent.append)._write({"system/cpu_utilization_percentage": 50.0})
    assert len(sent) == there
    assert read_system(folder) == sent


def test_a_line_for_a_folder_that_ray_has_made_while_the_study_is_away_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / SCRATCH).mkdir()
    sent: list[dict] = []
    SystemMonitor(tmp_path, 0.0, sent.append)._write({"system/cpu_utilization_percentage": 50.0})
    assert sent == []
    assert [path.name for path in tmp_path.iterdir()] == [SCRATCH]
