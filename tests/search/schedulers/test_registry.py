"""Schedulers by name; after a resume, one decides as it would have without the interruption."""

import pytest

from rigsl.errors import UserError
from search.record.learning_curve import METRIC
from search.schedulers.halving import RecordedHalving
from search.schedulers.median import RecordedMedian
from search.schedulers.registry import SCHEDULER_FACTORIES, check_registered, make_scheduler
from search.space.schedule import SCHEDULERS, Schedule

CURVES = {number: {epoch: 0.1 * number + 0.01 * epoch for epoch in range(1, 9)} for number in range(6)}


class RayTrial:
    def __init__(self, number: int) -> None:
        self.trial_id, self.config = f"ray{number}", {"number": number}


def trial(number: int) -> RayTrial:
    return RayTrial(number)


def decisions(scheduler, number: int, scores: dict[int, float]) -> str:
    """The scheduler's decisions about a whole trial, one letter per epoch: c(ontinue), S(top)."""
    letters, ray_trial = "", trial(number)
    scheduler.on_trial_add(None, ray_trial)
    for epoch, value in scores.items():
        action = scheduler.on_trial_result(None, ray_trial, {"epoch": epoch, METRIC: value, "done": False})
        letters += "S" if action == "STOP" else "c"
        if action == "STOP":
            scheduler.on_trial_complete(None, ray_trial, {"epoch": epoch, METRIC: value})
            break
    return letters


def make(name: str, curves, **options):
    schedule = Schedule(name=name, **({"grace": 1, "reduction": 2} | options))
    return make_scheduler(schedule, metric=METRIC, epochs=8, seed=1, curves=curves)


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_resumed_scheduler_decides_as_if_never_interrupted(name: str) -> None:
    uninterrupted = make(name, {})
    seen = {}
    for number, curve in CURVES.items():
        letters = decisions(uninterrupted, number, curve)
        seen[number] = dict(list(curve.items())[: len(letters)])
    rebuilt = make(name, seen)
    for number, start in ((10, 0.05), (11, 0.25), (12, 0.9)):
        scores = {epoch: start + 0.01 * epoch for epoch in range(1, 8)}
        assert decisions(rebuilt, number, scores) == decisions(uninterrupted, number, scores)


def test_the_first_weak_trial_after_a_resume_is_stopped_at_once() -> None:
    weak = dict.fromkeys(range(1, 8), 0.0)
    assert decisions(make("asha", CURVES), 9, weak) == "S"
    assert decisions(make("asha", {}), 9, weak) == "ccccccc"


def test_a_resumed_trial_is_not_counted_twice() -> None:
    halving = make("asha", CURVES | {6: {1: 0.7, 2: 0.8}})
    assert isinstance(halving, RecordedHalving)
    rungs = dict(halving._brackets[0]._rungs)
    before = {milestone: sorted(rung.values()) for milestone, rung in rungs.items()}
    six = trial(6)
    halving.on_trial_add(None, six)
    halving.on_trial_result(None, six, {"epoch": 2, METRIC: 0.8})
    assert {milestone: sorted(rung.values()) for milestone, rung in rungs.items()} == before
    median = make("median", CURVES)
    assert isinstance(median, RecordedMedian)
    five = trial(5)
    median.on_trial_add(None, five)
    median.on_trial_result(None, five, {"epoch": 8, METRIC: 0.58})
    assert len(median._results) == len(CURVES)
    assert len(median._results[five]) == 8


def test_a_bracket_is_the_same_after_every_restart() -> None:
    first, second = (make("hyperband", {}, brackets=3) for _ in range(2))
    chosen = [
        [scheduler._brackets.index(scheduler._bracket_of(number)) for number in range(30)]
        for scheduler in (first, second)
    ]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 3


def test_a_failed_trials_report_without_a_score_changes_nothing() -> None:
    for name in ("asha", "hyperband", "median", "none"):
        scheduler = make(name, CURVES)
        broken = trial(20)
        scheduler.on_trial_add(None, broken)
        scheduler.on_trial_complete(None, broken, {"done": True, "ended": "failed"})
        assert decisions(scheduler, 21, {1: 0.99, 2: 0.99})[0] == "c"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_that_a_space_can_name_is_made(name: str) -> None:
    if name == "pbt":
        with pytest.raises(ValueError, match="needs the population of its study"):
            make(name, {})
    else:
        assert decisions(make(name, {}), 0, {1: 0.5})[0] == "c"


def test_an_unknown_scheduler_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(UserError, match=r"^unknown scheduler 'ashaa'; choose one of asha, hyperband,"):
        make("ashaa", {})


def test_a_scheduler_that_is_known_on_one_side_only_is_an_error() -> None:
    check_registered(SCHEDULERS, SCHEDULER_FACTORIES)
    with pytest.raises(RuntimeError, match="'mine' has no factory: add it to SCHEDULER_FACTORIES"):
        check_registered([*SCHEDULERS, "mine"], SCHEDULER_FACTORIES)
    with pytest.raises(RuntimeError, match="'mine' is unknown to space files: add it to SCHEDULERS"):
        check_registered(SCHEDULERS, [*SCHEDULER_FACTORIES, "mine"])


def test_a_bracket_without_a_rung_is_left_out() -> None:
    assert len(make("hyperband", {}, brackets=9)._brackets) == 3
    assert len(make("asha", {}, brackets=9)._brackets) == 1
