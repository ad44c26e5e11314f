"""What the Gaussian process proposes: the improvement it expects, its costs, what runs, and what it keeps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import integrate, stats

from search.record import record
from search.samplers.gp_sampler import SCORES, SECONDS, GaussianSampler, drawn_together, log_improvement

SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


def test_expected_improvement_is_its_integral() -> None:
    for mean, deviation, best in ((0.3, 0.5, 0.2), (0.0, 1.0, 2.5), (-1.0, 0.3, 0.4)):
        true, _ = integrate.quad(
            lambda y, m=mean, s=deviation, b=best: (y - b) * stats.norm.pdf(y, m, s),
            best, best + 12 * deviation, epsabs=0, epsrel=1e-10,
        )  # fmt: skip
        found = log_improvement(np.array([mean]), np.array([deviation]), best)
        assert found[0] == pytest.approx(np.log(true), rel=1e-7)


def test_far_below_the_best_it_still_tells_which_is_nearer() -> None:
    far = -np.logspace(0, 4, 200)
    found = log_improvement(far, np.ones_like(far), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
    limit = stats.norm.logpdf(far[-1]) - 2 * np.log(-far[-1])
    assert found[-1] == pytest.approx(limit, abs=1e-6)
    at_join = log_improvement(np.array([-1 - 1e-9, -1 + 1e-9]), np.ones(2), 0.0)
    assert at_join[0] == pytest.approx(at_join[1], abs=1e-7)


def test_bad_scores_are_drawn_together_and_keep_their_order() -> None:
    scores = np.array([0.1, 0.3, 0.5, 0.56, 0.57, 0.58, 0.6])
    found, steepness = drawn_together(scores)
    assert (np.diff(found) > 0).all()
    assert found[3] == 0.0
    assert found[0] > -4  # 15 times as far below the median as the better half is above it
    step = 1e-7
    for place in (0, 1, 4, 6):
        moved = scores.copy()
        moved[place] += step
        if place < 3:  # above, a score changes the unit as well
            change = (drawn_together(moved)[0][place] - found[place]) / step
            assert change == pytest.approx(steepness[place], rel=1e-4)
        else:
            assert steepness[place] == pytest.approx(found[6] / 0.04, rel=1e-9)
    assert np.isfinite(drawn_together(np.full(9, 0.5))[0]).all()


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
    return [GaussianSampler(seed, **options).sample_relative(study, trial, space) for seed in range(count)]


def drawn(count: int, space: dict[str, BaseDistribution] = SPACE) -> Sequence[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(space).params for _ in range(count)]


def complete(params: dict, score: float, space=SPACE, **attrs: float) -> FrozenTrial:
    return create_trial(value=score, params=params, distributions=space, user_attrs=attrs)


def test_it_proposes_the_top_of_a_hill() -> None:
    study = study_of(*(complete(one, hill(one)) for one in drawn(25)))
    found = proposals(study)
    assert np.mean([hill(one) for one in found]) > 0.595
    assert proposals(study_of(*(complete(one, hill(one)) for one in drawn(6)))) == [{}] * 8  # too few


def test_where_others_run_it_goes_elsewhere() -> None:
    ended = [complete(one, one["x"]) for one in drawn(8)]  # the edge is long
    alone = proposals(study_of(*ended), 1)[0]
    running = [
        create_trial(state=TrialState.RUNNING, params=alone, distributions=SPACE),
        create_trial(state=TrialState.RUNNING, params={}, distributions={}),  # has no parameters yet
    ]
    beside = proposals(study_of(*ended, *running), 1)[0]
    assert alone["x"] > 0.9
    assert beside["x"] > 0.9
    assert abs(alone["y"] - beside["y"]) > 0.1


def test_of_two_equally_good_halves_it_takes_the_cheaper() -> None:
    space = SPACE | {"side": CategoricalDistribution(["left", "right"])}
    regardless = []
    for dear in ("left", "right"):
        trials = [
            complete(one, hill(one), space, **{record.ESTIMATE: 8.0 if one["side"] == dear else 1.0})
            for one in drawn(24, space)
        ]
        assert {one["side"] == dear for one in proposals(study_of(*trials), space=space)} == {False}
        regardless.append(proposals(study_of(*trials), space=space, cost=0.0))
    assert regardless[0] == regardless[1]


def test_nothing_is_proposed_twice_while_anything_is_left() -> None:
    space = {name: CategoricalDistribution([1, 2, 3, 4]) for name in ("x", "y")}
    study = optuna.create_study(direction="maximize")
    for number in range(16):
        trial = study.ask()
        frozen = study.get_trials(deepcopy=False)[trial.number]
        params = GaussianSampler(number, startup=0 if number else 1).sample_relative(study, frozen, space)
        params = params or {"x": 1, "y": 1}
        assert params not in [one.params for one in study.trials if one.state == TrialState.COMPLETE]
        study.tell(trial, state=TrialState.FAIL)
        study.add_trial(complete(params, params["x"] - abs(params["y"] - 2), space))


def test_its_kernels_are_in_the_record_and_fitted_anew_as_the_study_grows(tmp_path: Path) -> None:
    study = record.open_record(tmp_path, "s")
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for number in range(30):
        trial = study.ask(SPACE)
        frozen = study.get_trials(deepcopy=False)[number]
        GaussianSampler(number).sample_relative(study, frozen, SPACE)
        trial.set_user_attr(record.ESTIMATE, 1 + trial.params["x"])
        study.tell(trial, hill(trial.params))
    again = record.open_record(tmp_path, "s")
    for key in (SCORES, SECONDS):
        kept = {one.number: one.system_attrs[key] for one in again.trials if key in one.system_attrs}
        assert list(kept) == [7, 8, 9, 10, 11, 13, 15, 17, 19, 21, 24, 27]
        assert all(one[-1] == number and len(one) == len(SPACE) + 3 for number, one in kept.items())
