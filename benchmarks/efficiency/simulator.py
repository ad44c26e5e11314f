"""A study in simulated time: real proposals and real scheduling, trials from curves that are known.

An event is the end of an epoch on one of n simulated workers. What happens then is what happens under Ray
Tune, in the same order of calls, but a second costs nothing: hundreds of studies run in the time of one.

A trial's curve comes from an objective: a function of the configuration, or a table of real curves. What
decides is a `Method`; `RayMethod` is one of any Ray searcher and scheduler, `our_method` the one of
run_search.py. Everything is deterministic for a seed.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import optuna
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from rigsl.config import RIGSLConfig
from search.execution.listener import Listener
from search.execution.searcher import StudySearcher
from search.record.learning_curve import METRIC
from search.samplers.registry import SAMPLERS
from search.schedulers.pbt import Population
from search.schedulers.registry import make_scheduler, recorded_curves
from search.space.budget import Budget
from search.space.schedule import Schedule
from search.space.space import Space

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP


class Epoch(NamedTuple):
    """One epoch of a training."""

    score: float  #: validation score of this epoch; NaN: the training breaks here
    seconds: float  #: how long it takes


Curve = Sequence[Epoch]
#: The whole training of a configuration (name -> value, as RIGSLConfig.to_dict gives it).
Objective = Callable[[Mapping[str, Any]], Curve]


class Job(NamedTuple):
    """What a method gives to a free worker: a new trial, or one that it paused before."""

    trial: str
    config: Mapping[str, Any]
    start: tuple[str, int] | None = None  #: a child begins behind this epoch of that trial


class Method(Protocol):
    """What decides in a search."""

    def suggest(self) -> Job | None:
        """The next trial; None: nothing until another trial reports."""

    def report(self, trial: str, result: dict[str, Any]) -> str:
        """An epoch of a trial, as the trainable reports it: CONTINUE, PAUSE or STOP it."""

    def cut_off(self, reason: str) -> None:
        """The budget is used; the trials that still run end here."""


@dataclass(frozen=True)
class Limits:
    """When a simulated study ends; None: no limit. An epoch that would end later does not count."""

    seconds: float | None = None  #: of simulated time
    epochs: int | None = None  #: over all trials
    trials: int | None = None  #: begun


class Best(NamedTuple):
    """A new best score, and what had been spent until then."""

    seconds: float
    epochs: int
    trials: int  #: begun
    score: float
    trial: str


@dataclass(frozen=True)
class Outcome:
    """What a simulated study found and used."""

    history: tuple[Best, ...]  #: in the order of time, each better than the one before
    seconds: float
    epochs: int
    configs: Mapping[str, Mapping[str, Any]]  #: of every trial, in the order of their begin
    scores: Mapping[str, Sequence[tuple[float, float]]] = field(
        default_factory=dict
    )  #: its epochs' (end, score)
    study: optuna.Study | None = None  #: the record, where the method keeps one

    @property
    def best(self) -> float:
        """The best score; -inf where no epoch ended."""
        return self.history[-1].score if self.history else -math.inf

    def best_at(self, spent: float, of: str = "seconds") -> float:
        """The best score after `spent` seconds, epochs or trials; -inf before the first epoch's end."""
        place = bisect_right(self.history, spent, key=lambda best: float(getattr(best, of)))
        return self.history[place - 1].score if place else -math.inf

    def leaders_at(self, seconds: float, count: int) -> list[str]:
        """The trials with the best scores by then, the best first."""
        best = {
            trial: max((score for end, score in epochs if end <= seconds), default=-math.inf)
            for trial, epochs in self.scores.items()
        }
        return sorted((one for one in best if best[one] > -math.inf), key=lambda one: -best[one])[:count]


@dataclass
class _Training:
    """A trial on its way along its curve."""

    job: Job
    curve: Curve
    scores: list[float] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)  #: of its own epochs: when, and the score
    spent: float = 0.0

    def step(self) -> dict[str, Any]:
        """The report of the next epoch, in the words of search/execution/trainable.py."""
        epoch = self.curve[len(self.scores)]
        self.spent += epoch.seconds
        if math.isnan(epoch.score):
            reason = "diverged: the score is not a number"
            return {"done": True, "ended": "failed", "reason": reason, "epochs": len(self.scores)}
        self.scores.append(epoch.score)
        best, done = max(self.scores), len(self.scores) == len(self.curve)
        return {
            "epoch": len(self.scores),
            "training_iteration": len(self.scores),  # which Ray itself adds
            METRIC: best,
            "epochs": len(self.scores),
            "seconds": self.spent,
            "best_epoch": self.scores.index(best) + 1,
            "metrics/weighted_f1": epoch.score,
            "done": done,
            "ended": "by itself" if done else "",
        }


def simulate(method: Method, objective: Objective, *, workers: int, limits: Limits) -> Outcome:
    """Run `method` on `workers` simulated workers to the first of `limits`, or until it has nothing left.

    Args:
        method: what decides.
        objective: the trials' curves.
        workers: trials at a time.
        limits: the budget; without one, the method itself must come to an end.
    """
    return _Simulation(method, objective, workers, limits).run()


class _Simulation:
    def __init__(self, method: Method, objective: Objective, workers: int, limits: Limits) -> None:
        self.method, self.objective, self.free, self.limits = method, objective, workers, limits
        self.now, self.epochs, self.order = 0.0, 0, 0
        self.trainings: dict[str, _Training] = {}
        self.ends: list[tuple[float, int, str]] = []  #: of the epochs under way: when, a number, whose
        self.history: list[Best] = []

    def run(self) -> Outcome:
        """The event loop."""
        self._hand_out()
        while self.ends and not self._over():
            self.now, _, trial = heapq.heappop(self.ends)
            self._end_epoch(self.trainings[trial])
            self._hand_out()
        self.method.cut_off("cut off by the end of the study")
        seconds = self.now
        if self.ends and self.limits.seconds is not None and self.ends[0][0] > self.limits.seconds:
            seconds = self.limits.seconds
        configs = {trial: training.job.config for trial, training in self.trainings.items()}
        scores = {trial: training.ends for trial, training in self.trainings.items()}
        return Outcome(tuple(self.history), seconds, self.epochs, configs, scores)

    def _over(self) -> bool:
        seconds, epochs = self.limits.seconds, self.limits.epochs
        too_late = seconds is not None and self.ends[0][0] > seconds
        return too_late or (epochs is not None and self.epochs >= epochs)

    def _hand_out(self) -> None:
        """Give every free worker something to do, as long as there is something."""
        most = self.limits.trials
        while self.free and (most is None or len(self.trainings) < most):
            if (job := self.method.suggest()) is None:
                return
            if job.trial not in self.trainings:
                self.trainings[job.trial] = self._begun(job)
            self.free -= 1
            self._begin_epoch(self.trainings[job.trial])

    def _begun(self, job: Job) -> _Training:
        """A child's curve is its parent's up to its start, and from then on its own configuration's."""
        training = _Training(job, self.objective(job.config))
        if job.start is not None:
            parent, epoch = job.start
            training.scores = self.trainings[parent].scores[:epoch]
        return training

    def _begin_epoch(self, training: _Training) -> None:
        end = self.now + training.curve[len(training.scores)].seconds
        self.order += 1  # of two epochs that end together, the one that began first
        heapq.heappush(self.ends, (end, self.order, training.job.trial))

    def _end_epoch(self, training: _Training) -> None:
        self.epochs += 1
        result = training.step()
        if METRIC in result:
            training.ends.append((self.now, training.scores[-1]))
        if METRIC in result and (not self.history or result[METRIC] > self.history[-1].score):
            spent = self.now, self.epochs, len(self.trainings)
            self.history.append(Best(*spent, result[METRIC], training.job.trial))
        if self.method.report(training.job.trial, result) == CONTINUE and not result["done"]:
            self._begin_epoch(training)
        else:
            self.free += 1


class StandIn:
    """As much of a Ray trial as a scheduler looks at."""

    status = "RUNNING"

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
        self.last_result: dict[str, Any] = {}


class RayMethod:
    """A Ray searcher with a Ray scheduler, called as Ray Tune's controller calls them.

    Args:
        searcher: proposes.
        scheduler: stops; one that pauses trials is refused.
        configure: what the searcher proposes -> the configuration that the objective gets.
    """

    def __init__(
        self,
        searcher: Searcher,
        scheduler: TrialScheduler,
        configure: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> None:
        self.searcher, self.scheduler, self.configure = searcher, scheduler, configure
        self.live: dict[str, StandIn] = {}
        self._begun = 0
        self._names: dict[int, str] = {}  #: number in the record, where there is one -> trial

    def get_live_trials(self) -> list[StandIn]:
        """What a scheduler may ask Ray's controller for."""
        return list(self.live.values())

    def suggest(self) -> Job | None:
        """The searcher's next proposal, as a trial that the scheduler knows."""
        name = f"{self._begun:05d}"
        proposed = self.searcher.suggest(name)
        if proposed is None or proposed == Searcher.FINISHED:
            return None
        self._begun += 1
        self.live[name] = StandIn(name, proposed)
        self.scheduler.on_trial_add(self, self.live[name])
        self._names[proposed.get("number", self._begun)] = name
        parent = proposed.get("parent")
        start = None if parent is None else (self._names[parent[0]], parent[1])
        return Job(name, self.configure(proposed), start)

    def report(self, trial: str, result: dict[str, Any]) -> str:
        """The scheduler decides; the searcher hears of the epoch or of the end (tune_controller.py)."""
        one = self.live[trial]
        one.last_result = result
        decision = STOP if result["done"] else str(self.scheduler.on_trial_result(self, one, result))
        if decision == PAUSE:
            raise ValueError(f"{type(self.scheduler).__name__} pauses trials, which nothing here resumes")
        if decision == STOP:
            del self.live[trial]
            self.scheduler.on_trial_complete(self, one, result)
            self.searcher.on_trial_complete(trial, result | {"done": True})
        else:
            self.searcher.on_trial_result(trial, result)
        return decision

    def cut_off(self, reason: str) -> None:
        """Ours is told the truth; another searcher hears what Ray would tell it: their last results."""
        if isinstance(self.searcher, StudySearcher):
            self.searcher.end_running(reason)
        else:
            for trial, one in self.live.items():
                self.searcher.on_trial_complete(trial, one.last_result)
        self.live.clear()


def our_method(
    study: optuna.Study,
    space: Space,
    *,
    sampler: str = SAMPLERS[0],
    schedule: Schedule | None = None,
    workers: int = 1,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    seconds: Callable[[RIGSLConfig], float] | None = None,
) -> RayMethod:
    """What run_search.py runs: the study's searcher and the scheduler of `space`, or `schedule`.

    A `study` that holds trials already is resumed.
    """
    epochs = space.config(space.starts[0] if space.starts else {}, seed).epochs
    schedule = schedule or space.schedule
    population = None
    if schedule.name == "pbt":
        population = Population(study, space, schedule, seed=seed, epochs=epochs, trials=None)
    scheduler = make_scheduler(
        schedule,
        metric=METRIC,
        epochs=epochs,
        seed=seed,
        curves=recorded_curves(study),
        population=population,
    )
    searcher = StudySearcher(
        study, space, sampler=sampler, seed=seed, budget=Budget(), workers=workers,
        overrides={}, listeners=listeners, seconds=seconds,
    )  # fmt: skip
    return RayMethod(searcher, scheduler, lambda proposed: proposed["config"])


def simulate_study(
    space: Space,
    objective: Objective,
    *,
    limits: Limits,
    workers: int = 1,
    study: optuna.Study | None = None,
    **options: Any,
) -> Outcome:
    """`our_method` with its `options`, simulated; the record is in memory where no `study` is given."""
    record = study or optuna.create_study(direction="maximize")
    method = our_method(record, space, workers=workers, **options)
    return replace(simulate(method, objective, workers=workers, limits=limits), study=record)
