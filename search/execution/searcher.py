"""The Ray Tune searcher that asks and tells an Optuna study, truthfully.

Ray's own OptunaSearch tells a trial that the scheduler stopped as COMPLETE with its last value, which the
sampler then compares with the scores of full trainings (github.com/ray-project/ray, tune/search/optuna), and
leaves a trial whose score is NaN running for ever. Here every epoch is written to the record, a stopped trial
is PRUNED, a broken one FAIL with its reason, and interrupted trials are handed out again under their number.
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
from search.execution.listener import Listener
from search.record import learning_curve, lineage, record
from search.record.learning_curve import METRIC
from search.samplers.registry import make_sampler
from search.space.budget import Budget, may_start
from search.space.space import Space

#: Proposals in a row that were all tried before or invalid: the space is exhausted.
REPEATS = 100


@dataclass
class Live:
    """A trial in the hands of the workers."""

    trial: optuna.Trial
    config: dict[str, Any]
    epoch: int = 0  #: last epoch in the record
    summary: dict[str, Any] = field(default_factory=dict)


class StudySearcher(Searcher):  # type: ignore[misc]
    """Proposes trials from `study` and writes to it how they went.

    Args:
        study: the open record.
        space: what may be tried.
        sampler: one of SAMPLERS.
        seed: of the study; every trial trains with it, so that scores differ by configuration only.
        budget: only its number of trials matters here.
        workers: trials at a time.
        overrides: values of this run in place of those of the space, such as ``epochs``.
        trials: where the trials keep their files; None: they keep none.
        listeners: told every event.
        excess: by how much a configuration exceeds a worker's memory; see search/resources/memory_limit.py.
        seconds: what an epoch of a configuration takes, by comparison; None: it is not known.
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
        self.live: dict[str, Live] = {}
        self.space_exhausted = False
        self._interrupted = deque(record.running(study))
        begun = record.begun(study)
        self._begun = len(begun)
        #: content hash -> trial that was trained so from its first epoch
        self._known = {
            trial.user_attrs[record.HASH]: trial.number
            for trial in reversed(begun)
            if record.HASH in trial.user_attrs and lineage.origin(trial) is None
        }
        space.enqueue_starts(study)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial for Ray; None while all workers are busy; FINISHED when there is none left."""
        if len(self.live) >= self.workers:
            return None
        if self._interrupted:
            resumed = self._interrupted.popleft()
            # A kill may have come between two of its parameters.
            self.study.sampler = self.make_sampler(resumed.number)
            return self._hand_out(trial_id, optuna.Trial(self.study, resumed._trial_id), resumed)
        for _ in range(REPEATS):
            if not may_start(self.budget, self._begun):
                return str(Searcher.FINISHED)
            self._seed()
            if config := self._hand_out(trial_id, self.study.ask(), None):
                return config
        self.space_exhausted = True
        return str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a trial that goes on."""
        if trial_id in self.live:
            self._note(self.live[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a trial: by itself, by the scheduler, or because its worker was lost."""
        live = self.live.pop(trial_id, None)
        if live is None:
            return
        if error or result is None:
            reason = "worker lost twice (killed, out of memory, or its machine is gone)"
            self._end(live, TrialState.FAIL, reason)
            return
        self._note(live, result)
        ended = result.get("ended")
        if ended == "failed":
            self._end(live, TrialState.FAIL, str(result.get("reason")))
        elif ended == "by itself" and not math.isfinite(result.get(METRIC, math.nan)):
            self._end(live, TrialState.FAIL, "diverged: its score is not a number")
        elif ended == "by itself":
            self._end(live, TrialState.COMPLETE, "", float(result[METRIC]))
        else:
            self._end_stopped(live, lineage.reason(self.study, live.trial.number, live.epoch))

    def end_running(self, reason: str) -> None:
        """End the trials that the study's end cut off: pruned for `reason`, or complete at the last epoch.

        The workers are gone by now; what they finished after their last report is in the trials' own curves.
        """
        for trial_id in list(self.live):
            live = self.live.pop(trial_id)
            lines = learning_curve.read_curve(self.trials / f"{live.trial.number:04d}") if self.trials else []
            for epoch in range(live.epoch + 1, len(lines) + 1):
                self._note(live, learning_curve.report(lines[:epoch]))
            self._end_stopped(live, reason)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the record is the state of this searcher, and Ray's snapshots are never restored."""

    def _seed(self) -> None:
        number = sum(trial.state != TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))
        self.study.sampler = self.make_sampler(number)

    def _registered_sampler(self, number: int) -> BaseSampler:
        return make_sampler(self.sampler, self.seed, number, self.space)

    def _hand_out(
        self, trial_id: str, trial: optuna.Trial, resumed: FrozenTrial | None
    ) -> dict[str, Any] | None:
        """What the trainable needs for `trial`; None where it is not to be run: invalid, or known."""
        try:
            config = self.space.config(self.space.suggest(trial), self.seed, **self.overrides)
        except UserError as error:  # single values are checked with the space; some do not go together
            trial.set_user_attr(record.NOT_RUN, f"invalid configuration: {error}")
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        if resumed is None and (over := self.excess(config)) > 0:
            trial.set_user_attr(record.NOT_RUN, f"needs {100 * over:.0f} % more memory than a worker has")
            trial.set_constraint("memory", over)
            self.study.tell(trial, state=TrialState.PRUNED)
            return None
        digest = config.content_hash()
        start = lineage.origin(trial) if resumed else lineage.settle(self.study, trial, config, self.trials)
        if resumed is None and start is None and self._is_known(trial, digest):
            return None
        trial.set_user_attr(record.HASH, digest)
        if self.seconds is not None:
            trial.set_user_attr(record.ESTIMATE, self.seconds(config))
        self._begun += resumed is None
        if start is None:  # what a child was trained to does not follow from its configuration alone
            self._known.setdefault(digest, trial.number)
        live = Live(trial, config.to_dict(), epoch=(resumed.last_step or 0) if resumed else 0)
        self.live[trial_id] = live
        for listener in self.listeners:
            listener.started(self._frozen(trial), live.config, resumed is not None)
        given = {"number": trial.number, "config": live.config}
        return given if start is None else given | {"parent": tuple(start)}

    def _is_known(self, trial: optuna.Trial, digest: str) -> bool:
        """Whether an earlier trial had this configuration; then `trial` is told what is known."""
        if digest not in self._known:
            return False
        other = self.study.get_trials(deepcopy=False)[self._known[digest]]
        trial.set_user_attr(record.NOT_RUN, f"same configuration as trial {other.number}")
        for step, value in other.intermediate_values.items():
            trial.report(value, step)
        state = other.state if other.state.is_finished() else TrialState.FAIL
        self.study.tell(trial, other.value if state == TrialState.COMPLETE else None, state=state)
        return True

    def _note(self, live: Live, result: Mapping[str, Any]) -> None:
        """Write an epoch to the record, once: a trial that was resumed reports its last epoch again."""
        epoch, value = result.get("epoch", 0), result.get(METRIC, math.nan)
        live.summary |= {name: result[name] for name in record.SUMMARY if name in result}
        live.summary |= _place(result)
        if epoch <= live.epoch or not math.isfinite(value):
            return
        live.trial.report(value, epoch)
        live.epoch = epoch
        metrics = {name[8:]: entry for name, entry in result.items() if name.startswith("metrics/")}
        for listener in self.listeners:
            listener.epoch(live.trial.number, {"epoch": epoch, **metrics})

    def _end_stopped(self, live: Live, reason: str) -> None:
        """End a trial that was stopped: pruned for `reason`, or complete if its last epoch was done."""
        if live.epoch >= live.config["epochs"]:
            best = self._frozen(live.trial).intermediate_values[live.epoch]  # METRIC is the best score so far
            self._end(live, TrialState.COMPLETE, "", best)
        else:
            self._end(live, TrialState.PRUNED, reason)

    def _end(self, live: Live, state: TrialState, reason: str, value: float | None = None) -> None:
        for name, entry in (live.summary | ({record.REASON: reason} if reason else {})).items():
            live.trial.set_user_attr(name, entry)
        self.study.tell(live.trial, value, state=state)
        for listener in self.listeners:
            listener.finished(self._frozen(live.trial))

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[trial.number]


def _place(result: Mapping[str, Any]) -> dict[str, str]:
    """Where an epoch was computed, as attributes of its trial; ``gpu``: as that machine numbers them."""
    found = {"host": f"{result['hostname']} ({result['node_ip']})"} if "hostname" in result else {}
    return found | ({"gpu": str(result["gpu"])} if result.get("gpu") else {})
