"""Simulate a study: real samplers and schedulers, learning curves from a function or a surrogate.

The simulation is event-driven. An event is the end of an epoch on one of n simulated workers. The method gets
the same calls in the same order as under Ray Tune, but a simulated second costs nothing: hundreds of studies
run in the time of one.

A trial's learning curve comes from an objective: a test function, or a surrogate model of real curves. The
decisions come from a `Method`: `RayMethod` wraps any Ray searcher and scheduler, and `our_method` is the
search of run_search.py. A simulation is deterministic for a given seed.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import optuna
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from rigsl.config import RIGSLConfig
from search.execution.listener import Listener
from search.execution.searcher import StudySearcher
from search.record.learning_curve import METRIC
from search.record.trial_report import BY_ITSELF, FAILED, TrialReport
from search.samplers.registry import DEFAULT_SAMPLER
from search.schedulers.pbt import Population
from search.schedulers.recorded_curves import recorded_curves
from search.schedulers.registry import make_scheduler
from search.space.budget import Budget
from search.space.schedule import Schedule
from search.space.space import Space

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP


class Epoch(NamedTuple):
    """One epoch of a training."""

    score: float  #: validation score of this epoch; NaN: the training diverges here
    seconds: float  #: its duration


Curve = Sequence[Epoch]
#: The complete learning curve of a configuration (name -> value, as RIGSLConfig.to_dict gives it).
Objective = Callable[[Mapping[str, Any]], Curve]


class Assignment(NamedTuple):
    """A trial for a free worker: a new one, or a paused one to resume."""

    trial: str
    config: Mapping[str, Any]
    start: tuple[str, int] | None = None  #: (parent trial, epoch) that a PBT child continues from


class Method(Protocol):
    """A hyperparameter search method: proposes trials and decides whether they go on."""

    def suggest(self) -> Assignment | None:
        """The next trial; None: none until another trial reports."""

    def report(self, trial: str, report: TrialReport) -> str:
        """Decide after an epoch, given what the trainable would report: CONTINUE, PAUSE or STOP the trial."""

    def cut_off(self, reason: str) -> None:
        """End the trials that still run: the budget is used up."""


@dataclass(frozen=True)
class Limits:
    """The budget of a simulated study; None: no limit. An epoch that would end later does not count."""

    seconds: float | None = None  #: simulated wall time
    epochs: int | None = None  #: over all trials
    trials: int | None = None  #: started trials


class Incumbent(NamedTuple):
    """A new best trial, and what the study had spent when it was found."""

    seconds: float
    epochs: int
    trials: int  #: started trials
    score: float
    trial: str


@dataclass(frozen=True)
class SimulationResult:
    """The incumbents of a simulated study, and what it spent."""

    incumbents: tuple[Incumbent, ...]  #: by time; each score is better than the one before
    seconds: float
    epochs: int
    configs: Mapping[str, Mapping[str, Any]]  #: trial -> configuration, in order of their start
    scores: Mapping[str, Sequence[tuple[float, float]]] = field(
        default_factory=dict
    )  #: trial -> (end time, score) of its epochs
    study: optuna.Study | None = None  #: the Optuna study, if the method keeps one

    @property
    def best(self) -> float:
        """The best score; -inf if no epoch ended."""
        return self.incumbents[-1].score if self.incumbents else -math.inf

    @property
    def best_config(self) -> Mapping[str, Any]:
        """The configuration of the trial with the best score.

        Raises:
            IndexError: no epoch ended.
        """
        return self.configs[self.incumbents[-1].trial]

    def best_at(self, spent: float, unit: str = "seconds") -> float:
        """The best score after `spent` seconds, epochs or trials (the `unit`); -inf where there is none."""
        count = bisect_right(self.incumbents, spent, key=lambda incumbent: float(getattr(incumbent, unit)))
        return self.incumbents[count - 1].score if count else -math.inf

    def best_trials_at(self, seconds: float, count: int) -> list[str]:
        """The `count` trials with the best scores after `seconds`, the best first."""
        best = {
            trial: max((score for end, score in epochs if end <= seconds), default=-math.inf)
            for trial, epochs in self.scores.items()
        }
        scored = [trial for trial in best if best[trial] > -math.inf]
        return sorted(scored, key=lambda trial: -best[trial])[:count]


@dataclass
class _Training:
    """A started trial and the part of its learning curve that it has been through."""

    assignment: Assignment
    curve: Curve
    scores: list[float] = field(default_factory=list)
    timed_scores: list[tuple[float, float]] = field(default_factory=list)  #: (end time, score) of own epochs
    spent: float = 0.0

    def step(self) -> TrialReport:
        """The report of the next epoch, as search/execution/trainable.py makes it."""
        epoch = self.curve[len(self.scores)]
        self.spent += epoch.seconds
        if math.isnan(epoch.score):
            reason = "diverged: the score is not a number"
            return TrialReport(epochs=len(self.scores), ended=FAILED, reason=reason)
        self.scores.append(epoch.score)
        best, done = max(self.scores), len(self.scores) == len(self.curve)
        return TrialReport(
            epoch=len(self.scores),
            score=best,
            epochs=len(self.scores),
            seconds=self.spent,
            best_epoch=self.scores.index(best) + 1,
            metrics={"weighted_f1": epoch.score},
            ended=BY_ITSELF if done else "",
        )


def simulate(method: Method, objective: Objective, *, workers: int, limits: Limits) -> SimulationResult:
    """Run `method` until the first of `limits` is reached, or until it proposes no further trial.

    Args:
        method: the search method.
        objective: gives the trials' learning curves.
        workers: number of concurrent trials.
        limits: the budget; without any limit, the method itself must come to an end.
    """
    return _Simulation(method, objective, workers, limits).run()


class _Simulation:
    def __init__(self, method: Method, objective: Objective, workers: int, limits: Limits) -> None:
        self.method, self.objective, self.limits = method, objective, limits
        self.free_workers = workers
        self.now, self.epochs, self.started_epochs = 0.0, 0, 0
        self.trainings: dict[str, _Training] = {}
        self.events: list[tuple[float, int, str]] = []  #: heap of running epochs: (end time, order, trial)
        self.incumbents: list[Incumbent] = []

    def run(self) -> SimulationResult:
        """The event loop."""
        self._assign_workers()
        while self.events and not self._budget_spent():
            self.now, _, trial = heapq.heappop(self.events)
            self._end_epoch(self.trainings[trial])
            self._assign_workers()
        self.method.cut_off("cut off by the end of the study")
        seconds = self.now
        if self.events and self.limits.seconds is not None and self.events[0][0] > self.limits.seconds:
            seconds = self.limits.seconds
        configs = {trial: training.assignment.config for trial, training in self.trainings.items()}
        scores = {trial: training.timed_scores for trial, training in self.trainings.items()}
        return SimulationResult(tuple(self.incumbents), seconds, self.epochs, configs, scores)

    def _budget_spent(self) -> bool:
        seconds, epochs = self.limits.seconds, self.limits.epochs
        too_late = seconds is not None and self.events[0][0] > seconds
        return too_late or (epochs is not None and self.epochs >= epochs)

    def _assign_workers(self) -> None:
        """Give free workers trials, as long as the method has any."""
        max_trials = self.limits.trials
        while self.free_workers and (max_trials is None or len(self.trainings) < max_trials):
            if (assignment := self.method.suggest()) is None:
                return
            if assignment.trial not in self.trainings:
                self.trainings[assignment.trial] = self._new_training(assignment)
            self.free_workers -= 1
            self._start_epoch(self.trainings[assignment.trial])

    def _new_training(self, assignment: Assignment) -> _Training:
        """A PBT child has its parent's curve up to its start, then the curve of its own configuration."""
        training = _Training(assignment, self.objective(assignment.config))
        if assignment.start is not None:
            parent, epoch = assignment.start
            training.scores = self.trainings[parent].scores[:epoch]
        return training

    def _start_epoch(self, training: _Training) -> None:
        end = self.now + training.curve[len(training.scores)].seconds
        self.started_epochs += 1  # breaks ties between epochs that end together
        heapq.heappush(self.events, (end, self.started_epochs, training.assignment.trial))

    def _end_epoch(self, training: _Training) -> None:
        self.epochs += 1
        trial, report = training.assignment.trial, training.step()
        if report.epoch:
            training.timed_scores.append((self.now, training.scores[-1]))
        if report.epoch and (not self.incumbents or report.score > self.incumbents[-1].score):
            spent = self.now, self.epochs, len(self.trainings)
            self.incumbents.append(Incumbent(*spent, report.score, trial))
        if self.method.report(trial, report) == CONTINUE and not report.done:
            self._start_epoch(training)
        else:
            self.free_workers += 1


class SimulatedTrial:
    """The attributes of a Ray trial that schedulers read."""

    status = "RUNNING"

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
        self.last_result: dict[str, Any] = {}


class RayMethod:
    """A Ray searcher and a Ray scheduler, called as Ray Tune's controller calls them.

    Args:
        searcher: proposes trials.
        scheduler: stops trials; one that pauses trials is refused.
        configure: the searcher's proposal -> the configuration for the objective.
    """

    def __init__(
        self,
        searcher: Searcher,
        scheduler: TrialScheduler,
        configure: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> None:
        self.searcher, self.scheduler, self.configure = searcher, scheduler, configure
        self.live: dict[str, SimulatedTrial] = {}
        self._started = 0
        self._trial_names: dict[int, str] = {}  #: trial number in the Optuna study, if there is one -> name

    def get_live_trials(self) -> list[SimulatedTrial]:
        """The running trials: schedulers ask Ray's controller for them."""
        return list(self.live.values())

    def suggest(self) -> Assignment | None:
        """The searcher's next proposal, registered with the scheduler."""
        name = f"{self._started:05d}"
        proposal = self.searcher.suggest(name)
        if proposal is None or proposal == Searcher.FINISHED:
            return None
        self._started += 1
        self.live[name] = SimulatedTrial(name, proposal)
        self.scheduler.on_trial_add(self, self.live[name])
        self._trial_names[proposal.get("number", self._started)] = name
        parent = proposal.get("parent")
        start = None if parent is None else (self._trial_names[parent[0]], parent[1])
        return Assignment(name, self.configure(proposal), start)

    def report(self, trial: str, report: TrialReport) -> str:
        """Ask the scheduler, then notify the searcher, in the order of Ray's tune_controller.py.

        Raises:
            ValueError: the scheduler pauses the trial, which nothing here would resume.
        """
        live = self.live[trial]
        # Ray itself adds this key to the report of an epoch.
        result = report.to_ray() | ({"training_iteration": report.epoch} if report.epoch else {})
        live.last_result = result
        decision = STOP if report.done else str(self.scheduler.on_trial_result(self, live, result))
        if decision == PAUSE:
            raise ValueError(f"{type(self.scheduler).__name__} pauses trials, which nothing here resumes")
        if decision == STOP:
            del self.live[trial]
            self.scheduler.on_trial_complete(self, live, result)
            self.searcher.on_trial_complete(trial, result | {"done": True})
        else:
            self.searcher.on_trial_result(trial, result)
        return decision

    def cut_off(self, reason: str) -> None:
        """Our searcher records `reason`; any other gets what Ray would report: the trials' last results."""
        if isinstance(self.searcher, StudySearcher):
            self.searcher.end_running(reason)
        else:
            for trial, live in self.live.items():
                self.searcher.on_trial_complete(trial, live.last_result)
        self.live.clear()


def our_method(
    study: optuna.Study,
    space: Space,
    *,
    sampler: str = DEFAULT_SAMPLER,
    schedule: Schedule | None = None,
    workers: int = 1,
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    seconds: Callable[[RIGSLConfig], float] | None = None,
    make_sampler: Callable[[int], BaseSampler] | None = None,
) -> RayMethod:
    """The search of run_search.py: `StudySearcher`, with the scheduler of `space` or `schedule` instead.

    A `study` that already holds trials is resumed. `make_sampler` (trial number -> sampler) replaces
    `sampler`.
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
        overrides={}, listeners=listeners, seconds=seconds, make_sampler=make_sampler,
    )  # fmt: skip
    return RayMethod(searcher, scheduler, lambda proposal: proposal["config"])


def simulate_study(
    space: Space,
    objective: Objective,
    *,
    limits: Limits,
    workers: int = 1,
    study: optuna.Study | None = None,
    **options: Any,
) -> SimulationResult:
    """Simulate `our_method` with its `options`; without a `study`, the record is kept in memory."""
    study = study or optuna.create_study(direction="maximize")
    method = our_method(study, space, workers=workers, **options)
    return replace(simulate(method, objective, workers=workers, limits=limits), study=study)
