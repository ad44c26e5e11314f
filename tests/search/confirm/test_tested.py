"""What is tested besides the winner's trainings: averages, and models that the finalists teach."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigsl.training.teacher import Teacher
from search.confirm.tested import TestedTrainings
from tests.search.confirm.test_evidence import CONFIGS, Stage


@pytest.mark.parametrize("damage", ["gone", "cut off", "another teacher's"])
def test_the_file_of_a_teacher_is_written_again_where_it_does_not_hold_it(
    tmp_path: Path, damage: str
) -> None:
    """All taught trainings would fail of it, for good."""
    stage = Stage(tmp_path, folds=3)

    def teacher_file() -> Path:
        finalists, sides = stage.race.trained(), {"trial 0": CONFIGS[0]}
        return TestedTrainings(stage.plan, stage.runner, finalists, sides).jobs()[-1].teacher

    path = teacher_file()
    whole, written = path.read_bytes(), Teacher.load(path)
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(whole[:100])
    else:
        Teacher(written.log_prob, written.corpus_hash, weight=0.1).save(path)
    assert teacher_file() == path
    assert path.read_bytes() == whole
