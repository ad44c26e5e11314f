"""The best mean over fresh seeds wins, and hopeless finalists are dropped."""

import dataclasses
import itertools

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from rigsl.config import RIGSLConfig
from search.confirm.race import LEVEL, Finalist, Race, pooled_deviation, top, upper_bound
from search.confirm.trainings import Block, JobResult, identity
from search.record import lineage

SEEDS = (11, 12, 13)
BLOCKS = tuple(map(Block, SEEDS))


def finalists(*scores: float) -> list[Finalist]:
    """Finalists whose search scores are these."""
    return [
        Finalist(number, RIGSLConfig(lr=10.0 ** -(number + 2)), {}, score, True)
        for number, score in enumerate(scores)
    ]


def run(race: Race, score) -> list[tuple[int, int]]:
    """Run a race one job at a time; returns (trial, seed) in the order of the jobs."""
    order = []
    while (job := race.next()) is not None:
        finalist = next(finalist for finalist in race.finalists if identity(job.config) == finalist.key)
        order.append((finalist.trial, job.config.seed))
        value = score(finalist.trial, job.config.seed)
        race.ended(job, JobResult(value, 5, 3, "" if value is not None else "diverged"))
    return order


def test_every_finalist_gets_every_seed_and_the_best_mean_wins() -> None:
    race = Race(finalists(0.9, 0.8, 0.7), BLOCKS)
    noise = {11: 0.01, 12: -0.01, 13: 0.0}
    wobble = {(0, 11): 0.02, (1, 12): 0.02, (2, 13): 0.02}
    order = run(race, lambda trial, seed: 0.5 + noise[seed] + wobble.get((trial, seed), 0) + 0.001 * trial)
    assert order == [(trial, seed) for seed in SEEDS for trial in range(3)]
    assert race.winner().trial == 2
    assert [finalist.trial for finalist in race.ranked()] == [2, 1, 0]


def test_one_lucky_seed_does_not_win() -> None:
    race = Race(finalists(0.9, 0.5), BLOCKS)
    scores = {(0, 11): 0.60, (0, 12): 0.50, (0, 13): 0.50, (1, 11): 0.55, (1, 12): 0.55, (1, 13): 0.55}
    run(race, lambda trial, seed: scores[trial, seed])
    assert race.winner().trial == 1


def test_equal_means_go_to_the_lower_spread() -> None:
    race = Race(finalists(0.9, 0.5), BLOCKS[:2])
    scores = {(0, 11): 0.75, (0, 12): 0.25, (1, 11): 0.5, (1, 12): 0.5}
    run(race, lambda trial, seed: scores[trial, seed])
    assert race.winner().trial == 1


def test_hopeless_finalists_are_dropped_and_the_others_go_on() -> None:
    seeds = range(1, 9)
    rng = np.random.default_rng(0)
    noise = {key: 0.002 * rng.normal() for key in itertools.product(range(4), seeds)}
    level = {0: 0.600, 1: 0.606, 2: 0.55, 3: 0.40}
    race = Race(finalists(0.6, 0.6, 0.6, 0.6), list(map(Block, seeds)))
    order = run(race, lambda trial, seed: level[trial] + noise[trial, seed])
    trainings = {trial: sum(number == trial for number, _ in order) for trial in level}
    assert trainings[1] == 8
    assert trainings[2] < 8
    assert trainings[3] <= 3
    assert race.winner().trial == 1
    assert "behind trial" in race.finalists[3].stopped


def test_the_race_rarely_drops_the_truly_best() -> None:
    lost = 0
    for study in range(60):
        noise = np.random.default_rng(study).normal(scale=0.01, size=(4, 9))
        race = Race(finalists(*[0.5] * 4), list(map(Block, range(1, 7))))
        run(race, lambda trial, seed, noise=noise: 0.5 + 0.004 * (trial == 3) + noise[trial, seed])
        lost += bool(race.finalists[3].stopped)
    assert lost <= 6, "the best is dropped in one of ten such close races at most"


def test_a_failed_training_costs_the_win() -> None:
    race = Race(finalists(0.9, 0.5), BLOCKS)
    run(race, lambda trial, seed: None if (trial, seed) == (0, 12) else 0.9 - 0.1 * trial)
    assert race.winner().trial == 1
    assert "seed 12: diverged" in race.finalists[0].failure
    assert race.finalists[0].record(SEEDS, winner=False).state == "failed"


def test_nobody_wins_where_all_fail() -> None:
    race = Race(finalists(0.9, 0.5), BLOCKS)
    run(race, lambda trial, seed: None)
    assert race.winner() is None


def test_the_bound_is_that_of_a_paired_t_interval_for_two() -> None:
    other, leader = finalists(0.5, 0.5)
    other.scores = {1: 0.50, 2: 0.53, 3: 0.49, 4: 0.51}
    leader.scores = {1: 0.55, 2: 0.52, 3: 0.57, 4: 0.55}
    difference = np.array([other.scores[seed] - leader.scores[seed] for seed in other.scores])
    interval = stats.ttest_1samp(difference, 0, alternative="less").confidence_interval(LEVEL)
    assert upper_bound(other, leader, [other, leader]) == pytest.approx(interval.high)


def test_the_pooled_deviation_is_the_residual_of_two_factors() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(4, 5))
    group = finalists(*[0.5] * 4)
    for finalist, row in zip(group, table, strict=True):
        finalist.scores = dict(enumerate(row))
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    deviation, freedom = pooled_deviation(group)
    assert freedom == 3 * 4
    assert deviation == pytest.approx(np.sqrt((residual**2).sum() / 12))
    assert pooled_deviation([dataclasses.replace(group[0], scores={1: 0.5})]) is None


def test_a_finalist_has_the_parameters_that_trained_its_best_epoch() -> None:
    """A child of population based training whose parent has failed later, with the parent's score."""
    study = optuna.create_study(direction="maximize")
    lr = {"lr": FloatDistribution(1e-4, 1e-1)}
    parent = create_trial(state=TrialState.FAIL, params={"lr": 1e-3}, distributions=lr)
    begins = {lineage.PARENT: 0, lineage.PARENT_EPOCH: 2, "best_epoch": 2}
    child = create_trial(
        state=TrialState.COMPLETE, value=0.6, params={"lr": 1e-1}, distributions=lr, user_attrs=begins
    )
    study.add_trials([parent, child])
    [finalist] = top(study, {1: RIGSLConfig(lr=1e-3)}, 5)
    assert (finalist.trial, finalist.config.lr, finalist.params) == (1, 1e-3, {"lr": 1e-3})


def test_the_top_are_distinct_configurations_by_score() -> None:
    study = optuna.create_study(direction="maximize")
    lr = {"lr": FloatDistribution(1e-5, 1.0)}
    for value, score, state in (
        (0.1, 0.5, TrialState.COMPLETE), (0.2, 0.6, TrialState.PRUNED), (0.1, 0.55, TrialState.COMPLETE),
        (0.3, 0.6, TrialState.COMPLETE), (0.4, None, TrialState.FAIL),
    ):  # fmt: skip
        done = state == TrialState.COMPLETE
        study.add_trial(
            create_trial(
                state=state, value=score if done else None, params={"lr": value}, distributions=lr,
                intermediate_values={} if score is None else {1: score},
            )
        )  # fmt: skip
    configs = {trial.number: RIGSLConfig(lr=trial.params["lr"]) for trial in study.trials}
    best = [(finalist.trial, finalist.complete) for finalist in top(study, configs, 5)]
    assert best == [(3, True), (1, False), (2, True)]
    assert len(top(study, configs, 2)) == 2


def test_on_folds_the_score_of_the_fold_counts() -> None:
    blocks = [Block(11, 0, 2), Block(12, 1, 2)]
    race = Race(finalists(0.9, 0.5), blocks)
    held_out = {0: 0.4, 1: 0.6}
    names = []
    while (job := race.next()) is not None:
        names.append((job.name.partition("-")[2], job.fold, job.label))
        trial = next(one.trial for one in race.finalists if one.key == identity(job.config))
        race.ended(job, JobResult(0.9 - trial, 5, 3, held_out=held_out[trial]))
    assert names == [
        ("11-fold1of2", 0, "trial 0, fold 1, seed 11"),
        ("11-fold1of2", 0, "trial 1, fold 1, seed 11"),
        ("12-fold2of2", 1, "trial 0, fold 2, seed 12"),
        ("12-fold2of2", 1, "trial 1, fold 2, seed 12"),
    ]
    assert race.winner().trial == 1
    assert [finalist.mean for finalist in race.ranked()] == [0.6, 0.4]


@pytest.mark.parametrize(("count", "go_on"), [(4, 4), (5, 4), (8, 4), (9, 5)])
def test_after_two_blocks_the_better_half_of_many_finalists_goes_on(count: int, go_on: int) -> None:
    race = Race(finalists(*[0.5] * count), BLOCKS, level=1)
    order = run(race, lambda trial, seed: 0.5 + 0.01 * trial)
    first, last = order[: 2 * count], order[2 * count :]
    assert sorted(first) == sorted((trial, seed) for trial in range(count) for seed in SEEDS[:2])
    assert sorted(last) == [(trial, SEEDS[2]) for trial in range(count - go_on, count)]
    stopped = [finalist for finalist in race.finalists if finalist.stopped]
    reason = f"after 2 seeds: not among the best {go_on}"
    assert [finalist.stopped for finalist in stopped] == [reason] * (count - go_on)


def test_the_half_that_goes_on_is_known_when_all_have_their_first_blocks() -> None:
    race = Race(finalists(*[0.5] * 6), BLOCKS, level=1)
    running = [race.next() for _ in range(12)]
    assert None not in running
    assert race.next() is None, "third blocks wait"
    for job in running[:11]:
        race.ended(job, JobResult(0.5, 5, 3))
        assert race.next() is None
    race.ended(running[11], JobResult(0.5, 5, 3))
    assert race.next() is not None


def test_a_finalist_that_fails_does_not_hold_up_the_others() -> None:
    race = Race(finalists(*[0.5] * 6), BLOCKS, level=1)
    order = run(race, lambda trial, seed: None if trial == 2 else 0.5 + 0.01 * trial)
    assert sum(seed == SEEDS[2] for _, seed in order) == 4
    assert race.winner().trial == 5
