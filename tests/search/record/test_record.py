"""The trials of a record: which have a score, which one wins, and their states in words."""

import optuna
import pytest
from optuna.trial import TrialState

from search.record import record
from search.record.states import STATES, state_name


@pytest.fixture
def study() -> optuna.Study:
    """Trials that are complete, pruned with and without an epoch, failed, repeated, running, waiting."""
    study = optuna.create_study(direction="maximize")
    study.tell(study.ask(), 0.5)
    pruned = study.ask()
    pruned.report(0.7, 1)
    pruned.report(0.6, 2)
    study.tell(pruned, state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)
    repeated = study.ask()
    repeated.set_user_attr(record.NOT_RUN, "same configuration as trial 0")
    study.tell(repeated, 0.5)
    study.ask()
    study.enqueue_trial({"lr": 0.1})
    return study


def test_scored_trials_are_those_with_a_score_in_the_order_of_their_end(study: optuna.Study) -> None:
    late = study.ask()
    study.tell(study.ask(), 0.4)
    study.tell(late, 0.3)
    scored = record.scored(study)
    assert [(trial.number, record.score(trial)) for trial in scored[:2]] == [(0, 0.5), (1, 0.7)]
    assert [record.score(trial) for trial in scored[2:]] == [0.4, 0.3]
    assert [trial for trial in record.finished(study) if record.score(trial) is not None] == scored


def test_the_winner_can_be_a_pruned_trial(study: optuna.Study) -> None:
    best = record.winner(study)
    assert best is not None
    assert best.number == 1
    assert record.winner(optuna.create_study()) is None


def test_trials_are_counted_by_the_words_for_their_states(study: optuna.Study) -> None:
    assert record.counts(study) == {"complete": 1, "pruned": 2, "failed": 1, "running": 1}
    assert list(record.counts(optuna.create_study())) == ["complete", "pruned", "failed", "running"]


def test_every_state_of_a_trial_that_has_begun_has_a_word(study: optuna.Study) -> None:
    assert set(STATES) == set(TrialState) - {TrialState.WAITING}
    assert [state_name(trial) for trial in record.begun(study)] == [
        "complete", "pruned", "pruned", "failed", "running",
    ]  # fmt: skip
