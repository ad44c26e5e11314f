"""The budget of a study: it ends at the first exhausted limit, counted over all resumes."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rigsl.config import as_float
from rigsl.errors import UserError
from rigsl.wording import counted

#: A study ends after this many failed trials in a row: the cause is the setup, not the configurations.
FAILURES_IN_A_ROW = 10
#: Trials with a score that a default time limit waits for: on a machine that others use, too, or a slow one,
#: the time alone would end a study with nothing to choose from. And how many times as long it waits at most.
LEAST_TRIALS, LONGEST = 12, 3
#: Ten years: what is longer is a mistake, and the end of it may be no date that a computer knows.
MAX_MINUTES = 10 * 366 * 1440.0


@dataclass(frozen=True)
class Budget:
    """The limits of a study; None: no limit.

    Raises:
        UserError: a limit that is not a number above zero.
    """

    trials: int | None = None  #: trials started (complete, pruned and failed)
    minutes: float | None = None  #: wall time of the search, without final stage and report
    gpu_hours: float | None = None  #: GPU time of the trials; a fraction of a GPU counts as that fraction
    target: float | None = None  #: stop at this validation F1 (weighted, 0 to 1)
    patience: int | None = None  #: trials in a row without a new best
    least_trials: int | None = None  #: with a score, which `minutes` waits for, up to LONGEST times as long

    def __post_init__(self) -> None:
        for name in ("trials", "patience", "least_trials"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise UserError(f"{name}: {value!r} is not a whole number from 1 up")
        for name in ("minutes", "gpu_hours", "target"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise UserError(f"{name}: {value!r} is not a number")
            if value is not None and not (math.isfinite(as_float(value)) and value > 0):
                raise UserError(f"{name}: {value!r} is not a number above 0")
        if self.minutes is not None and self.minutes > MAX_MINUTES:
            raise UserError(f"minutes: {self.minutes:g} minutes are more than ten years; leave the limit out")
        if self.target is not None and self.target > 1:
            raise UserError(f"target: {self.target} is above 1; a weighted F1 is a fraction, say 0.65")
        if self.least_trials is not None and self.minutes is None:
            raise UserError("least_trials: extends minutes, which is missing; leave it out or give minutes")

    def override(self, **limits: Any) -> Budget:
        """This budget with `limits` in place of its own; None leaves a limit as it is."""
        changes = {name: limit for name, limit in limits.items() if limit is not None}
        return dataclasses.replace(self, **changes)

    def waiting(self) -> Budget:
        """This budget as a default, which the user has not chosen: its time limit waits for LEAST_TRIALS."""
        if self.minutes is None or self.least_trials is not None:
            return self
        least = LEAST_TRIALS if self.trials is None else min(LEAST_TRIALS, self.trials)
        return dataclasses.replace(self, least_trials=least)

    def describe(self) -> str:
        """The limits in words."""
        parts = [
            counted(self.trials, "trial") if self.trials else "",
            self._describe_minutes() if self.minutes else "",
            counted(self.gpu_hours, "GPU hour") if self.gpu_hours else "",
            f"a weighted F1 of {self.target:g}" if self.target else "",
            f"{counted(self.patience, 'trial')} without a new best" if self.patience else "",
        ]
        return " or ".join(part for part in parts if part) or "no limit"

    def _describe_minutes(self) -> str:
        assert self.minutes is not None
        text = minutes_in_words(self.minutes)
        if self.least_trials is None:
            return text
        longest = minutes_in_words(LONGEST * self.minutes)
        return f"{text} (up to {longest} until {counted(self.least_trials, 'trial')} are finished)"


@dataclass(frozen=True)
class Spent:
    """What a study has used so far."""

    seconds: float = 0.0  #: wall time of the search
    gpu_seconds: float = 0.0
    scores: Sequence[float | None] = ()  #: of finished trials, in the order of their end; None: failed
    finished: int = 0  #: trials

    @property
    def scored(self) -> int:
        """Finished trials that have a score."""
        return sum(score is not None for score in self.scores)


def exhausted(budget: Budget, spent: Spent) -> str | None:
    """Why the study ends now: its first exhausted limit; None while the search continues."""
    if ending := _time_used(budget, spent):
        return ending
    if budget.gpu_hours is not None and spent.gpu_seconds >= 3600 * budget.gpu_hours:
        return f"{counted(budget.gpu_hours, 'GPU hour')} used"
    scores = [score for score in spent.scores if score is not None]
    best = max(scores, default=-math.inf)
    if budget.target is not None and best >= budget.target:
        return f"target {budget.target:g} reached"
    if budget.trials is not None and spent.finished >= budget.trials:
        return trials_done(budget.trials)
    if budget.patience is not None and _since_best(spent.scores) >= budget.patience:
        return f"{counted(budget.patience, 'trial')} without a new best"
    recent = list(spent.scores)[-FAILURES_IN_A_ROW:]
    if len(recent) == FAILURES_IN_A_ROW and all(score is None for score in recent):
        return f"the last {FAILURES_IN_A_ROW} trials failed"
    return None


def _time_used(budget: Budget, spent: Spent) -> str | None:
    """Why the time limit ends the study; None while there is time left, or it waits for trials."""
    if budget.minutes is None or spent.seconds < 60 * budget.minutes:
        return None
    used = f"time budget of {minutes_in_words(budget.minutes)} used"
    if budget.least_trials is None:
        return used
    if spent.scored >= budget.least_trials:
        return f"{used}, {counted(spent.scored, 'trial')} finished"
    if spent.seconds < 60 * LONGEST * budget.minutes:
        return None
    return f"{LONGEST} times the {used}, {counted(spent.scored, 'trial')} finished"


def trials_done(trials: int) -> str:
    """Why a study ended whose number of trials is used up."""
    return f"{'all ' if trials > 1 else ''}{counted(trials, 'trial')} done"


def may_start(budget: Budget, started: int) -> bool:
    """Whether another trial may start after `started` trials."""
    return budget.trials is None or started < budget.trials


def _since_best(scores: Sequence[float | None]) -> int:
    """Finished trials since the best one; 0 while there is no score."""
    best, since = -math.inf, 0
    for score in scores:
        if score is not None and score > best:
            best, since = score, 0
        else:
            since += 1
    return since if best > -math.inf else 0


def read_budget(table: Any, where: str) -> Budget:
    """The budget in a TOML table.

    Raises:
        UserError: an unknown key or a bad value; the sentence starts with `where`.
    """
    names = {spec.name for spec in dataclasses.fields(Budget)}
    if not isinstance(table, dict):
        raise UserError(f"{where}: is not a table")
    if unknown := set(table) - names:
        raise UserError(f"{where} {min(unknown)}: unknown key; the keys are {', '.join(sorted(names))}")
    try:
        return Budget(**table)
    except UserError as error:
        raise UserError(f"{where} {error}") from None


_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}


def read_minutes(text: str) -> float:
    """``90s``, ``10m``, ``1.5h``, ``1h30m`` or ``2d`` as minutes.

    Raises:
        UserError: `text` is not such a time, or not above zero.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise UserError(f"--time-budget {text}: is not a time like 90s, 10m, 2h or 1h30m")
    minutes = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if minutes <= 0:
        raise UserError(f"--time-budget {text}: is not a time above zero")
    return minutes


def minutes_in_words(minutes: float) -> str:
    """``8 min``, ``1 h 30 min``, ``45 s``."""
    seconds = round(60 * minutes)
    hours, rest = divmod(seconds, 3600)
    parts = [(hours, "h"), (rest // 60, "min"), (rest % 60 if not hours else 0, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
