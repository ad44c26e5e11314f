"""What a study leaves of its trials."""

from __future__ import annotations

from pathlib import Path

from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.record import record
from search.run_folder import MODEL, STATE, TRIALS
from tests.helpers.played_study import PlayedStudy


def test_the_end_of_a_study_removes_what_an_earlier_process_left(home: Path) -> None:
    """It was killed before it removed them, and no trial has ended since."""
    played = PlayedStudy(home, f"sqlite:///{home}/mlflow.db")
    played.play([], trials=3)
    trials = played.folder / TRIALS
    for number in range(3):
        (trials / f"{number:04d}" / MODEL).mkdir()
        (trials / f"{number:04d}" / STATE).touch()
    RunFolderCleanup(played.study, played.folder, Clock()).ended()
    best = record.winner(played.study)
    assert best is not None
    assert [path.parent.name for path in trials.glob(f"*/{MODEL}")] == [f"{best.number:04d}"]
    assert not list(trials.glob(f"*/{STATE}"))
