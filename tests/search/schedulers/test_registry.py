"""A scheduler after a resume decides as the one before the interruption would have."""

import pytest

from search.record.learning_curve import METRIC
from search.schedulers.registry import RecordedHalving, RecordedMedian, make_scheduler
from search.space.schedule import Schedule

CURVES = {number: {epoch: 0.1 * number + 0.01 * epoch for epoch in range(1, 9)} for number in range(6)}


class RayTrial:
    def __init__(self, number: int) -> None:
        self.trial_id, self.config = f"ray{number}", {"number": number}


def trial(number: int) -> RayTrial:
    return RayTrial(number)


def decisions(scheduler, number: int, scores: dict[int, float]) -> str:
    """What the scheduler says to one whole trial, a letter an epoch: c(ontinue), S(top)."""
    said, one = "", trial(number)
    scheduler.on_trial_add(None, one)
    for epoch, value in scores.items():
        action = scheduler.on_trial_result(None, one, {"epoch": epoch, METRIC: value, "done": False})
        said += "S" if action == "STOP" else "c"
        if action == "STOP":
            scheduler.on_trial_complete(None, one, {"epoch": epoch, METRIC: value})
            break
    return said


def make(name: str, curves, **options):
    schedule = Schedule(name=name, **({"grace": 1, "reduction": 2} | options))
    return make_scheduler(schedule, metric=METRIC, epochs=8, seed=1, curves=curves)


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_a_resumed_scheduler_decides_as_if_never_interrupted(name: str) -> None:
    lived = make(name, {})
    seen = {}
    for number, curve in CURVES.items():
        said = decisions(lived, number, curve)
        seen[number] = dict(list(curve.items())[: len(said)])
    rebuilt = make(name, seen)
    for number, start in ((10, 0.05), (11, 0.25), (12, 0.9)):
        scores = {epoch: start + 0.01 * epoch for epoch in range(1, 8)}
        assert decisions(rebuilt, number, scores) == decisions(lived, number, scores)


def test_the_first_weak_trial_after_a_resume_is_stopped_at_once() -> None:
    weak = dict.fromkeys(range(1, 8), 0.0)
    assert decisions(make("asha", CURVES), 9, weak) == "S"
    assert decisions(make("asha", {}), 9, weak) == "ccccccc"


def test_a_resumed_trial_is_not_counted_twice() -> None:
    halving = make("asha", CURVES | {6: {1: 0.7, 2: 0.8}})
    assert isinstance(halving, RecordedHalving)
    rungs = dict(halving._brackets[0]._rungs)
    before = {milestone: sorted(rung.values()) for milestone, rung in rungs.items()}
    one = trial(6)
    halving.on_trial_add(None, one)
    halving.on_trial_result(None, one, {"epoch": 2, METRIC: 0.8})
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
    chosen = [[s._brackets.index(s._bracket_of(number)) for number in range(30)] for s in (first, second)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 3


def test_a_failed_trials_report_without_a_score_disturbs_nobody() -> None:
    for name in ("asha", "hyperband", "median", "none"):
        scheduler = make(name, CURVES)
        broken = trial(20)
        scheduler.on_trial_add(None, broken)
        scheduler.on_trial_complete(None, broken, {"done": True, "ended": "failed"})
        assert decisions(scheduler, 21, {1: 0.99, 2: 0.99})[0] == "c"
