"""Which trial is replaced, and by whose child."""

import numpy as np
import pytest
from optuna.trial import TrialState

from search.record import lineage, times
from search.record.learning_curve import METRIC
from search.schedulers.pbt_scheduler import PBTScheduler
from search.space.space import Space
from tests.search.schedulers.toy_population import ToyStudy


def test_a_weak_trial_is_replaced_by_a_child_of_a_strong_one(toy: ToyStudy) -> None:
    assert toy.report(3, 2, 0.1)
    (child,) = toy.waiting()
    assert child.user_attrs == {"parent": child.user_attrs["parent"], "parent_epoch": 2, "replaces": 3}
    assert child.user_attrs["parent"] in (1, 2)
    assert toy.study.trials[3].state == TrialState.PRUNED
    assert lineage.reason(toy.study, 3, 2) == "stopped after epoch 2; trial 4 takes its place"
    assert lineage.reason(toy.study, 2, 2) == "stopped by the scheduler after epoch 2"
    given = toy.start()
    assert given["number"] == child.number == 4
    assert given["parent"] == (child.user_attrs["parent"], 2)
    parent = toy.study.trials[child.user_attrs["parent"]]
    assert toy.study.trials[4].params != parent.params
    assert given["config"]["num_L"] == parent.params["num_L"]


def test_a_strong_or_an_equal_trial_goes_on(toy: ToyStudy) -> None:
    assert not toy.report(3, 1, 0.0)  # no interval ends here
    assert not toy.report(3, 2, 0.45)
    assert not toy.waiting()


def test_a_trial_is_compared_with_its_population_not_with_all_trials(space: Space) -> None:
    toy = ToyStudy(space)
    for _ in range(8):
        toy.start()
    stopped = [toy.report(number, 2, 0.1 + number / 100) for number in range(7)]
    assert not any(stopped), "each is better than those before"
    assert toy.report(7, 2, 0.145)  # better than five of seven, but not than the last three


def test_equal_trials_all_go_on(space: Space) -> None:
    toy = ToyStudy(space)
    for number in range(6):
        toy.start()
        assert not toy.report(number, 2, 0.2)


def test_asked_again_the_answer_is_the_same_and_there_is_one_child(toy: ToyStudy) -> None:
    assert toy.population.stops(3, 2, 0.1)
    toy.resume()
    assert toy.population.stops(3, 2, 0.1)
    assert toy.population.stops(3, 1, 0.0), "it goes on from an older state and is stopped all the same"
    assert len(toy.waiting()) == 1


def test_a_trial_is_compared_once_even_after_a_resume(toy: ToyStudy) -> None:
    toy.report(3, 2, 0.45)
    assert not toy.population.stops(0, 2, 0.3)  # by now it is among the weak ones


def test_no_trial_is_stopped_for_a_child_that_the_budget_does_not_allow(space: Space) -> None:
    toy = ToyStudy(space, max_trials=4)
    for _ in range(4):
        toy.start()
    for number, score in ((0, 0.3), (1, 0.5), (2, 0.4), (3, 0.1)):
        assert not toy.report(number, 2, score)


def test_a_lone_trial_goes_on_to_its_end(space: Space) -> None:
    toy = ToyStudy(space)
    toy.start()
    assert not any(toy.report(0, epoch, 0.1) for epoch in range(1, 9))


def test_inherited_epochs_are_not_compared(toy: ToyStudy) -> None:
    toy.report(3, 2, 0.1)
    parent = toy.start()["parent"][0]
    score = toy.study.trials[parent].intermediate_values[2]
    assert not toy.report(4, 1, score / 2)
    assert not toy.report(4, 2, score)
    assert set(lineage.own_scores(toy.study.trials, 2)) == {0, 1, 2, 3}
    for number in (0, 1, 2):
        toy.report(number, 4, 0.6 + number / 10)
    assert toy.report(4, 4, score)
    child = toy.waiting()[0]
    assert child.user_attrs["parent"] in (1, 2)
    assert child.user_attrs["parent_epoch"] == 4


def test_a_failed_trial_is_no_parent(toy: ToyStudy) -> None:
    toy.searcher.on_trial_complete(toy.names[1], {"ended": "failed", "reason": "diverged", "done": True})
    toy.start()
    toy.report(4, 2, 0.2)
    assert toy.report(3, 2, 0.1)
    assert {trial.user_attrs["parent"] for trial in toy.waiting()} <= {0, 2}


def test_no_trial_is_stopped_for_a_child_that_exceeds_the_memory_limit(toy: ToyStudy) -> None:
    toy.population.excess = lambda config: 0.1
    assert not toy.report(3, 2, 0.1)
    assert not toy.waiting()


def test_siblings_differ(space: Space) -> None:
    toy = ToyStudy(space)
    for _ in range(30):
        toy.start()
    for number in range(30):
        toy.report(number, 2, 1 / (number + 1))
    attempts = [(lineage.origin(trial), str(trial.system_attrs["fixed_params"])) for trial in toy.waiting()]
    assert len(attempts) > 5
    assert len(set(attempts)) == len(attempts)


def test_the_ray_scheduler_stops_replaced_trials(toy: ToyStudy) -> None:
    class RayTrial:
        config = {"number": 3}  # noqa: RUF012

    scheduler = PBTScheduler(METRIC, toy.population)
    assert scheduler.on_trial_result(None, RayTrial(), {"epoch": 1, METRIC: 0.1}) == "CONTINUE"
    assert scheduler.on_trial_result(None, RayTrial(), {"ended": "failed", "epochs": 1}) == "CONTINUE"
    assert scheduler.on_trial_result(None, RayTrial(), {"epoch": 2, METRIC: 0.1}) == "STOP"


def test_a_resumed_search_decides_as_if_never_interrupted(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "now", lambda: 0.0)

    def play(restart_at: int | None) -> list[tuple]:
        toy, step = ToyStudy(space), 0
        for _ in range(14):  # generations of two trials side by side
            pair = [toy.start(), toy.start()]
            running = {given["number"]: given.get("parent", (0, 0))[1] for given in pair}
            while running:
                for number, epoch in list(running.items()):
                    step += 1
                    if step == restart_at:
                        unfinished = len(toy.searcher.live)
                        toy.resume()
                        assert {toy.start()["number"] for _ in range(unfinished)} >= set(running)
                    noise = np.random.default_rng([number, epoch]).uniform(0, 0.1)
                    score = -np.log10(toy.study.trials[number].params["lr"]) / 10 + noise + epoch / 50
                    del running[number]
                    if not toy.report(number, epoch + 1, float(score)) and epoch < 7:
                        running[number] = epoch + 1
            for name in sorted(toy.searcher.live, key=lambda name: toy.searcher.live[name].trial.number):
                toy.searcher.on_trial_complete(name, {"epoch": 9, METRIC: 0.5, "ended": "by itself"})
        trials = toy.study.trials
        return [(trial.params, trial.user_attrs, trial.state, trial.intermediate_values) for trial in trials]

    uninterrupted = play(None)
    children = [entry for entry in uninterrupted if "replaces" in entry[1]]
    assert len(children) >= 5
    for restart_at in (40, 101):
        assert play(restart_at) == uninterrupted
