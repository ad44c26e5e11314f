"""A study as samplers see it: predicted scores, failures of a configuration, and which of many trials."""

import math

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.record import record
from search.samplers.imputed_scores import PREDICTED, SCORE_VARIANCE, with_imputed_scores


def trial_of(state: TrialState, curve: list[float], lr: float, reason: str = "") -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        value=curve[-1] if state == TrialState.COMPLETE else None,
        params={"lr": lr},
        distributions={"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)},
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs={record.REASON: reason},
    )


def seen(study: optuna.Study, max_trials: int = 100) -> list[FrozenTrial]:
    return with_imputed_scores(study, max_trials).get_trials(deepcopy=False)


def seen_scores(study: optuna.Study, max_trials: int = 100) -> dict[int, float | None]:
    return {trial.number: trial.value for trial in seen(study, max_trials)}


def rising(end: float, epochs: int = 12) -> list[float]:
    """A curve that leads to `end`, 0.3 below it before its first epoch."""
    return [end - 0.3 * (math.exp(-epoch / 3) - math.exp(-4)) for epoch in range(1, epochs + 1)]


def test_a_pruned_trial_has_the_score_that_it_would_have_reached_with_a_variance() -> None:
    study = optuna.create_study(direction="maximize")
    for end in (0.5, 0.52, 0.56, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, rising(end), 1e-3))
    for epochs in (2, 6):
        study.add_trial(trial_of(TrialState.PRUNED, rising(0.57, epochs), 1e-3))
    study.add_trial(trial_of(TrialState.PRUNED, [], 1e-3))  # says nothing
    assert list(seen_scores(study)) == [0, 1, 2, 3, 4, 5]
    early, late = seen(study)[4:]
    assert early.value == pytest.approx(0.57, abs=0.03)
    assert late.value == pytest.approx(0.57, abs=0.01)
    assert early.user_attrs[SCORE_VARIANCE] > late.user_attrs[SCORE_VARIANCE] > 0
    assert [trial.value for trial in seen(study)[:4]] == [trial.value for trial in study.trials[:4]]
    assert all(SCORE_VARIANCE not in trial.user_attrs for trial in seen(study)[:4])
    assert study.trials[4].state == TrialState.PRUNED  # the record itself is as it was


def test_a_running_trial_has_a_predicted_score_after_its_first_epoch() -> None:
    study = optuna.create_study(direction="maximize")
    for end in (0.5, 0.52, 0.56, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, rising(end), 1e-3))
    running = study.ask()
    assert PREDICTED not in seen(study)[-1].user_attrs
    for epoch, score in enumerate(rising(0.58, 6), start=1):
        running.report(score, epoch)
    assert seen(study)[-1].state == TrialState.RUNNING
    assert seen(study)[-1].user_attrs[PREDICTED] == pytest.approx(0.58, abs=0.01)


def test_only_a_failure_of_the_configuration_itself_counts_against_it() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial_of(TrialState.COMPLETE, [0.3], 1e-3))
    study.add_trial(trial_of(TrialState.FAIL, [0.2], 1e-1, "diverged: the loss is not finite"))
    study.add_trial(trial_of(TrialState.FAIL, [], 1e-1, "out of memory: OutOfMemoryError"))
    study.add_trial(trial_of(TrialState.FAIL, [0.2], 1e-1, "worker lost twice"))
    too_large = trial_of(TrialState.PRUNED, [], 1e-2)
    too_large.set_constraint("memory", 1.0)
    study.add_trial(too_large)
    assert seen_scores(study) == {0: 0.3, 1: 0.3, 2: 0.3, 4: 0.3}
    assert not any(trial.constraints for trial in seen(study))


def test_of_many_trials_the_best_and_the_latest_are_seen() -> None:
    study = optuna.create_study(direction="maximize")
    for score in (0.9, 0.8, 0.7, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, [score], 1e-3))
    study.ask()
    assert list(seen_scores(study, max_trials=8)) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert list(seen_scores(study, max_trials=4)) == [0, 6, 7, 8, 9]
