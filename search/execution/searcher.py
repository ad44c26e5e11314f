"""The Ray Tune searcher: proposes trials by an Optuna sampler and writes to the record how they went.

Ray's own OptunaSearch tells Optuna that a trial which the scheduler stopped is COMPLETE with its last value,
which the sampler then compares with the scores of full trainings (github.com/ray-project/ray,
tune/search/optuna); a trial whose score is NaN it leaves running for ever. Here every epoch is written to the
record, a stopped trial is PRUNED, a broken one is FAIL with its reason, and interrupted trials are handed out
again under their number.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from search.execution.error_guard import StorageFailure
from search.execution.listener import Listener
from search.record import lineage, record, times
from search.record.learning_curve import METRIC, read_curve
from search.record.snapshot import take_snapshot
from search.record.trial_report import BY_ITSELF, NOT_WRITTEN, WORKER_LOST, TrialReport
from search.samplers.registry import make_sampler
from search.space.budget import Budget, may_start
from search.space.space import Space

#: After so many proposals in a row that were all tried before or invalid, the space is exhausted.
REPEATS = 100


@dataclass
class LiveTrial:
    """A trial that a worker has."""

    trial: optuna.Trial
    config: dict[str, Any]
    epoch: int = 0  #: last epoch in the record
    attributes: dict[str, Any] = field(default_factory=dict)  #: from its reports, for the record
    reason: str = ""  #: why its worker is about to end, if its last report says so


class StudySearcher(Searcher):  # type: ignore[misc]
    """Proposes the trials of `study` and writes to it how they went.

    Args:
        study: the open record.
        space: the search space.
        sampler: one of SAMPLERS.
        seed: of the study; every trial trains with it, so that scores differ by configuration only.
        budget: only its number of trials matters here.
        workers: number of concurrent trials.
        overrides: values that replace those of the space, such as ``epochs``.
        trials: folder of the trials' folders; None: the trials keep no files.
        listeners: called at every event.
        excess: by how much a configuration exceeds a worker's memory; see search/resources/memory_limit.py.
        seconds: estimated relative duration of an epoch of a configuration; None: it is not known.
        make_sampler: trial number -> the sampler that proposes it; None: `sampler` from the registry.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        *,
        sampler: str,
        seed: int,
        budget: Budget,
        workers: int,
        overrides: Mapping[str, Any],
        trials: Path | None = None,
        listeners: Sequence[Listener] = (),
        excess: Callable[[RIGSLConfig], float] = lambda config: 0.0,
        seconds: Callable[[RIGSLConfig], float] | None = None,
        make_sampler: Callable[[int], BaseSampler] | None = None,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self.excess, self.seconds = excess, seconds
        self.study, self.space, self.budget = study, space, budget
        self.sampler, self.seed, self.workers = sampler, seed, workers
        self.overrides, self.trials, self.listeners = dict(overrides), trials, list(listeners)
        self.make_sampler = make_sampler or self._registered_sampler
        self.live: dict[str, LiveTrial] = {}
        self.space_exhausted = False
        begun = [trial for trial in record.begun(study) if not record.is_proposal(trial)]
        self._interrupted = deque(trial for trial in begun if trial.state == TrialState.RUNNING)
        #: A kill came after their proposal had begun, and before it was known whether they are run.
        self._proposed = deque(filter(record.is_proposal, study.get_trials(deepcopy=False)))
        self._begun, self._ends = len(begun), times.last_position(begun)
        #: content hash of a configuration -> trial that was trained with it from its first epoch
        self._known = {
            trial.user_attrs[record.HASH]: trial.number
            for trial in reversed(begun)
            if record.HASH in trial.user_attrs and lineage.origin(trial) is None
        }
        space.enqueue_starts(study)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial for Ray; None while all workers are busy; FINISHED when no trial may follow."""
        if len(self.live) >= self.workers:
            return None
        if self._interrupted:
            resumed = self._interrupted.popleft()
            return self._hand_out(trial_id, self._opened(resumed), resumed)
        for _ in range(REPEATS):
            if not may_start(self.budget, self._begun):
                return str(Searcher.FINISHED)
            if config := self._hand_out(trial_id, self._next_proposal(), None):
                return config
        self.space_exhausted = True
        return str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a trial that goes on, or why its worker cannot."""
        if trial_id in self.live:
            live, report = self.live[trial_id], TrialReport.from_ray(result)
            live.reason = report.reason
            self._record_epoch(live, report)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a trial: by itself, by the scheduler, or because its worker was lost."""
        live = self.live.pop(trial_id, None)
        if live is None:
            return
        if error or result is None:
            self._end(live, TrialState.FAIL, live.reason or WORKER_LOST)
            return
        report = TrialReport.from_ray(result)
        if report.ended == NOT_WRITTEN:
            raise StorageFailure(f"trial {live.trial.number}: {report.reason}")
        self._record_epoch(live, report)
        if report.failure:
            self._end(live, TrialState.FAIL, report.failure)
        elif report.ended == BY_ITSELF:
            self._end(live, TrialState.COMPLETE, "", report.score)
        else:
            self._end_stopped(live, lineage.reason(self.study, live.trial.number, live.epoch))

    def end_running(self, reason: str) -> None:
        """End the trials that the study's end cuts off: pruned for `reason`, or complete at the last epoch.

        Also those that an earlier process was interrupted in, and that no worker has had since. The workers
        are gone by now. The epochs that they finished after their last report are in the trials' learning
        curves.
        """
        lives = [*self.live.values(), *map(self._left, self._interrupted)]
        for live in lives:
            lines = read_curve(self.trials / f"{live.trial.number:04d}") if self.trials else []
            for epoch in range(max(1, live.epoch), len(lines) + 1):
                self._record_epoch(live, TrialReport.from_curve(lines[:epoch]))
            self._end_stopped(live, reason)
        for trial in map(self._opened, self._proposed):
            trial.set_user_attr(record.NOT_RUN, reason)
            self.study.tell(trial, state=TrialState.FAIL)
        for ended in (self.live, self._interrupted, self._proposed):
            ended.clear()

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the record is the state of this searcher, and Ray's snapshots are never restored."""

    def _next_proposal(self) -> optuna.Trial:
        """A new trial, or one whose proposal a kill has cut off; its draws depend on its number only."""
        if self._proposed:
            return self._opened(self._proposed.popleft())
        number = sum(trial.state != TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))
        self.study.sampler = self.make_sampler(number)
        return self.study.ask()

    def _opened(self, trial: FrozenTrial) -> optuna.Trial:
        """A trial of the record, to be written to; its sampler proposes the parameters that it lacks."""
        self.study.sampler = self.make_sampler(trial.number)
        return optuna.Trial(self.study, trial._trial_id)

    def _left(self, trial: FrozenTrial) -> LiveTrial:
        """A trial that an earlier process was interrupted in, as if a worker had had it until now."""
        config = self.space.config(trial.params, self.seed, **self.overrides)
        return LiveTrial(self._opened(trial), config.to_dict(), epoch=trial.last_step or 0)

    def _registered_sampler(self, number: int) -> BaseSampler:
        return make_sampler(self.sampler, self.seed, number, self.space)

    def _hand_out(
        self, trial_id: str, trial: optuna.Trial, resumed: FrozenTrial | None
    ) -> dict[str, Any] | None:
        """The trainable's configuration for `trial`; None if it is not run: invalid, too large or known.

        Args:
            resumed: the trial as the record has it, if an earlier process was interrupted in it.
        """
        try:
            config = self.space.config(self.space.suggest(trial), self.seed, **self.overrides)
        except UserError as error:  # the space checks single values; some combinations are invalid
            trial.set_user_attr(record.NOT_RUN, f"invalid configuration: {error}")
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        if resumed is None and (over := self.excess(config)) > 0:
            trial.set_user_attr(record.NOT_RUN, f"needs {100 * over:.0f} % more memory than a worker has")
            trial.set_constraint("memory", over)
            self.study.tell(trial, state=TrialState.PRUNED)
            return None
        digest = config.content_hash()
        if resumed is not None:
            start = lineage.origin(trial)
        else:
            start = lineage.resolve_origin(self.study, trial, config, self.trials)
            if start is None and self._is_known(trial, digest):
                return None
        if times.STARTED_AT not in trial.user_attrs:
            trial.set_user_attr(times.STARTED_AT, times.now())
        trial.set_user_attr(record.HASH, digest)
        if self.seconds is not None:
            trial.set_user_attr(record.ESTIMATE, self.seconds(config))
        self._begun += resumed is None
        if start is None:  # the result of a child does not follow from its configuration alone
            self._known.setdefault(digest, trial.number)
        live = LiveTrial(trial, config.to_dict(), epoch=(resumed.last_step or 0) if resumed else 0)
        self.live[trial_id] = live
        for listener in self.listeners:
            listener.started(self._frozen(trial), live.config, resumed is not None)
        proposal = {"number": trial.number, "config": live.config}
        return proposal if start is None else proposal | {"parent": tuple(start)}

    def _is_known(self, trial: optuna.Trial, digest: str) -> bool:
        """Whether an earlier trial had this configuration; then `trial` gets that trial's result."""
        if digest not in self._known:
            return False
        earlier = self.study.get_trials(deepcopy=False)[self._known[digest]]
        trial.set_user_attr(record.NOT_RUN, f"same configuration as trial {earlier.number}")
        for epoch, score in earlier.intermediate_values.items():
            trial.report(score, epoch)
        state = earlier.state if earlier.state.is_finished() else TrialState.FAIL
        self.study.tell(trial, earlier.value if state == TrialState.COMPLETE else None, state=state)
        return True

    def _record_epoch(self, live: LiveTrial, report: TrialReport) -> None:
        """Write an epoch to the record, once: a trial that was resumed reports its last epoch again."""
        live.attributes |= report.attributes()
        if report.epoch <= live.epoch or not math.isfinite(report.score):
            return
        live.trial.report(report.score, report.epoch)
        live.epoch = report.epoch
        for listener in self.listeners:
            listener.epoch(live.trial.number, report)

    def _end_stopped(self, live: LiveTrial, reason: str) -> None:
        """End a trial that was stopped: pruned for `reason`, or complete if its last epoch was done."""
        if live.epoch >= live.config["epochs"]:
            best = self._frozen(live.trial).intermediate_values[live.epoch]  # METRIC is the best score so far
            self._end(live, TrialState.COMPLETE, "", best)
        else:
            self._end(live, TrialState.PRUNED, reason)

    def _end(self, live: LiveTrial, state: TrialState, reason: str, score: float | None = None) -> None:
        """Write the end of a trial to the record; `score`: of a complete one."""
        self._ends += 1
        attributes = live.attributes | ({record.REASON: reason} if reason else {})
        attributes |= {times.ENDED: self._ends, times.ENDED_AT: times.now()}
        for name, value in attributes.items():
            live.trial.set_user_attr(name, value)
        self.study.tell(live.trial, score, state=state)
        snapshot = take_snapshot(self.study)
        trial = snapshot.trial(live.trial.number)
        for listener in self.listeners:
            listener.finished(trial, snapshot)

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        """`trial` as the record has it."""
        return self.study.get_trials(deepcopy=False)[trial.number]
