"""gp: it proposes where improvement is expected, by cost and beside running trials, and keeps its kernels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.record import record
from search.samplers.gp_sampler import DRAWS_TIMES_TRIALS, KERNEL_DRAWS, GaussianProcessSampler
from search.samplers.kernel_cache import COST_KERNEL, SCORE_KERNEL
from search.samplers.qmc import sobol_points
from search.space.prior import Prior

SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


def hill(params: dict) -> float:
    return 0.6 - (params["x"] - 0.3) ** 2 - (params["y"] - 0.7) ** 2


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def proposals(study: optuna.Study, count: int = 8, **options: object) -> list[dict]:
    space = options.pop("space", SPACE)
    number = study.ask().number
    trial = study.get_trials(deepcopy=False)[number]
    return [
        GaussianProcessSampler(seed, **options).sample_relative(study, trial, space) for seed in range(count)
    ]


def random_params(count: int, space: dict[str, BaseDistribution] = SPACE) -> Sequence[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(space).params for _ in range(count)]


def complete(params: dict, score: float, space=SPACE, **attrs: float) -> FrozenTrial:
    return create_trial(value=score, params=params, distributions=space, user_attrs=attrs)


def test_it_proposes_the_top_of_a_hill() -> None:
    study = study_of(*(complete(params, hill(params)) for params in random_params(25)))
    assert np.mean([hill(params) for params in proposals(study)]) > 0.595


def test_its_first_proposals_are_points_of_one_sobol_sequence() -> None:
    study = optuna.create_study(direction="maximize")
    from_sequence = []
    for seed in range(8):
        number = study.ask().number
        trial = study.get_trials(deepcopy=False)[number]
        params = GaussianProcessSampler(seed, design_seed=5).sample_relative(study, trial, SPACE)
        from_sequence.append(params == next(sobol_points(SPACE, 5, number)))
        study.tell(number, state=TrialState.FAIL)
        study.add_trial(complete(params, hill(params)))
    assert from_sequence == [True] * 7 + [False]


def test_every_second_of_its_first_proposals_is_drawn_from_the_priors() -> None:
    priors = {"x": Prior(0.9, "high")}
    believed = []
    for count in range(7):
        study = study_of(*(complete(params, hill(params)) for params in random_params(count)))
        [params] = proposals(study, 1, design_seed=5, priors=priors)
        point = next(sobol_points(SPACE, 5, count))
        assert params["y"] == point["y"]
        believed.append(params["x"] != point["x"])
        assert params["x"] > 0.5 or not believed[-1]
    assert believed == [True, False, True, False, True, False, True]


def test_what_is_believed_counts_beside_the_scores_and_less_with_every_trial() -> None:
    """Along y, all scores are alike; along x, they rise up to a place that the prior lies behind."""
    priors = {"x": Prior(0.95, "high"), "y": Prior(0.1, "high")}

    def mean(failed: int) -> dict[str, float]:
        params = [{"x": x, "y": y} for x in (0.1, 0.4, 0.6, 0.9) for y in (0.2, 0.8)]
        study = study_of(*(complete(one, 0.6 - (one["x"] - 0.6) ** 2) for one in params))
        study.add_trials([create_trial(state=TrialState.FAIL)] * failed)
        found = proposals(study, priors=priors, prior_weight=300.0)
        return {name: float(np.mean([params[name] for params in found])) for name in SPACE}

    few, many = mean(failed=0), mean(failed=400)
    assert few["y"] < 0.25
    assert many["y"] < 0.25
    assert abs(many["x"] - 0.6) < 0.1 < abs(few["x"] - 0.6)


def test_what_the_scores_contradict_counts_nothing() -> None:
    params = [{"x": x, "y": y} for x in (0.1, 0.3, 0.6, 0.9) for y in (0.2, 0.8)]
    falling = study_of(*(complete(one, 1 - one["x"]) for one in params))
    wrong = {"x": Prior(0.9, "high")}
    assert proposals(falling, 2, priors=wrong, prior_weight=1e6) == proposals(
        falling, 2, priors=wrong, prior_weight=0.0
    )
    rising = study_of(*(complete(one, one["x"]) for one in params))
    assert proposals(rising, 2, priors=wrong, prior_weight=1e6) != proposals(
        rising, 2, priors=wrong, prior_weight=0.0
    )


def test_a_prior_on_a_parameter_that_a_study_does_not_have_changes_nothing() -> None:
    study = study_of(*(complete(params, hill(params)) for params in random_params(9)))
    assert proposals(study, 2, priors={"z": Prior(1.0)}) == proposals(study, 2)


def test_beside_a_running_trial_it_proposes_another_configuration() -> None:
    ended = [complete(params, params["x"]) for params in random_params(8)]  # any y is as good
    alone = proposals(study_of(*ended), 1)[0]
    running = [
        create_trial(state=TrialState.RUNNING, params=alone, distributions=SPACE),
        create_trial(state=TrialState.RUNNING, params={}, distributions={}),  # has no parameters yet
    ]
    beside = proposals(study_of(*ended, *running), 1)[0]
    assert alone["x"] > 0.9
    assert beside["x"] > 0.9
    assert abs(alone["y"] - beside["y"]) > 0.05


def test_of_two_equally_good_halves_it_takes_the_faster_one() -> None:
    space = SPACE | {"side": CategoricalDistribution(["left", "right"])}
    regardless = []
    for slow in ("left", "right"):
        trials = [
            complete(params, hill(params), space, **{record.ESTIMATE: 8.0 if params["side"] == slow else 1.0})
            for params in random_params(24, space)
        ]
        assert {params["side"] == slow for params in proposals(study_of(*trials), space=space)} == {False}
        regardless.append(proposals(study_of(*trials), space=space, cost_exponent=0.0))
    assert regardless[0] == regardless[1]


def test_nothing_is_proposed_twice_while_anything_is_left() -> None:
    space = {name: CategoricalDistribution([1, 2, 3, 4]) for name in ("x", "y")}
    study = optuna.create_study(direction="maximize")
    for number in range(16):
        trial = study.ask()
        frozen = study.get_trials(deepcopy=False)[trial.number]
        params = GaussianProcessSampler(number, startup=0 if number else 1).sample_relative(
            study, frozen, space
        )
        params = params or {"x": 1, "y": 1}
        assert params not in [other.params for other in study.trials if other.state == TrialState.COMPLETE]
        study.tell(trial, state=TrialState.FAIL)
        study.add_trial(complete(params, params["x"] - abs(params["y"] - 2), space))


def test_kernel_hyperparameters_are_in_the_record_and_refitted_as_the_study_grows(tmp_path: Path) -> None:
    study = record.open_record(tmp_path, "s")
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for number in range(30):
        trial = study.ask(SPACE)
        frozen = study.get_trials(deepcopy=False)[number]
        GaussianProcessSampler(number).sample_relative(study, frozen, SPACE)
        trial.set_user_attr(record.ESTIMATE, 1 + trial.params["x"])
        study.tell(trial, hill(trial.params))
    again = record.open_record(tmp_path, "s")
    for key, kernels in ((SCORE_KERNEL, 1 + KERNEL_DRAWS), (COST_KERNEL, 1)):
        entries = {
            trial.number: trial.system_attrs[key] for trial in again.trials if key in trial.system_attrs
        }
        assert list(entries) == [7, 8, 9, 10, 11, 13, 15, 17, 19, 21, 24, 27]
        assert [entry[-1] for entry in entries.values()] == list(entries)
        assert {len(entry) for entry in entries.values()} == {kernels * (len(SPACE) + 2) + 1}


def test_the_more_trials_there_are_the_fewer_kernels_a_proposal_averages_over() -> None:
    trials = [complete({"x": share, "y": 1 - share}, share) for share in np.linspace(0, 1, 200)]
    for count, kernels in ((20, KERNEL_DRAWS), (200, DRAWS_TIMES_TRIALS // 200)):
        study = study_of(*trials[:count])
        sampler = GaussianProcessSampler(0)
        study.ask()
        sampler.sample_relative(study, study.get_trials(deepcopy=False)[-1], SPACE)
        assert sampler.acquisition is not None
        assert len(sampler.acquisition.surrogates) == kernels
