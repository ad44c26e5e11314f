"""A study as samplers see it: extrapolated scores, failures of a configuration, and which of many trials."""

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.record import lineage, record
from search.samplers.imputed_scores import SCORE_VARIANCE, with_imputed_scores


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


def test_a_pruned_trial_is_extrapolated_by_the_gain_of_complete_ones() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial_of(TrialState.PRUNED, [0.5], 1e-3))
    assert seen_scores(study) == {0: 0.5}  # nothing is known about gains yet
    for end in (0.3, 0.4, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, [0.2, end], 1e-3))
    study.add_trial(trial_of(TrialState.PRUNED, [], 1e-3))  # says nothing
    assert seen_scores(study) == {0: pytest.approx(0.7), 1: 0.3, 2: 0.4, 3: 0.6}
    assert study.trials[0].state == TrialState.PRUNED  # the record itself is as it was


def test_regression_lines_lead_from_epoch_to_epoch_and_give_a_variance() -> None:
    """Low scores gain more: twice a third of their distance to 0.7; last scores have an error of 0.02."""
    study = optuna.create_study(direction="maximize")
    firsts = np.linspace(0.1, 0.6, 40)
    for number, first in enumerate(firsts):
        curve = [0.7 - (0.7 - first) * (2 / 3) ** epoch for epoch in range(3)]
        curve[2] += 0.02 * (-1) ** (number // 4)
        epochs = 3 - number % 4 if number % 4 < 3 else 1
        state = TrialState.COMPLETE if epochs == 3 else TrialState.PRUNED
        study.add_trial(trial_of(state, curve[:epochs], 1e-3))
    expected = 0.7 - (0.7 - firsts) * (2 / 3) ** 2
    for trial, score, original in zip(seen(study), expected, study.trials, strict=True):
        assert trial.value == pytest.approx(score, abs=0.03)
        measured = original.state == TrialState.COMPLETE
        assert np.sqrt(trial.user_attrs.get(SCORE_VARIANCE, 0.0)) == (
            0 if measured else pytest.approx(0.02, abs=0.005)
        )
    assert SCORE_VARIANCE not in study.trials[1].user_attrs


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


def test_a_child_that_owes_its_score_to_its_parents_weights_is_not_seen() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial_of(TrialState.COMPLETE, [0.5, 0.6], 1e-3))
    child = trial_of(TrialState.COMPLETE, [0.5, 0.5], 1e-1)
    child.user_attrs = {lineage.PARENT: 0, lineage.PARENT_EPOCH: 1, "best_epoch": 1}
    study.add_trial(child)
    assert seen_scores(study) == {0: 0.6}


def test_of_many_trials_the_best_and_the_latest_are_seen() -> None:
    study = optuna.create_study(direction="maximize")
    for score in (0.9, 0.8, 0.7, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, [score], 1e-3))
    study.ask()
    assert list(seen_scores(study, max_trials=8)) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert list(seen_scores(study, max_trials=4)) == [0, 6, 7, 8, 9]
