"""One study of the contest: a sampler on a problem, with one seed."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, Trial

from benchmarks.optimisers.beliefs import BELIEFS, priors
from benchmarks.optimisers.objectives import make_objective
from benchmarks.optimisers.problems import Objective, problems
from benchmarks.optimisers.recommendation import RULES, best_observed
from benchmarks.optimisers.rivals import ABLATIONS, OURS, SAMPLERS
from rigsl.files import write_text
from search.samplers import GPSampler
from search.samplers.factory import trial_seed

#: The regret is recorded after every 20th of the trials.
POINTS = 20


@dataclass(frozen=True)
class Cell:
    """What identifies a study."""

    sampler: str
    problem: str
    seed: int
    trials: int

    @property
    def file_name(self) -> str:
        """Of its result."""
        return f"{self.sampler}-{self.problem}-{self.seed}-{self.trials}.json".replace(" ", "_")


@dataclass(frozen=True)
class CellResult:
    """How a study went. Seconds are those of the sampler alone."""

    sampler: str
    problem: str
    seed: int
    trials: int
    regrets: tuple[float, ...]  #: of what it would recommend, after each of POINTS equal parts of the trials
    seconds: float  #: of all proposals
    slowest: float  #: proposal
    failures: int  #: proposals that ended with an error; a random configuration takes their place
    error: str  #: the first of them


def run_cell(cell: Cell, folder: Path, until: float, on_steps: Callable[[int], Any]) -> None:
    """Run a study, and write its result into `folder`; nothing happens where it would begin after `until`."""
    if time.time() < until:
        write_text(folder / cell.file_name, json.dumps(asdict(run_study(cell))) + "\n")
    on_steps(1)


def run_study(cell: Cell) -> CellResult:
    """Run a study.

    It recommends what looked best so far, as `optuna.Study.best_params` do, unless the sampler has a rule of
    its own. The regret is that of the true value.
    """
    recommend = RULES.get(cell.sampler, best_observed)
    history = trials_of(dataclasses.replace(cell, sampler=OURS) if cell.sampler in RULES else cell)
    objective, trials = history.objective, history.trials
    counts = [(point + 1) * cell.trials // POINTS for point in range(POINTS)]
    recommended = [recommend(trials[:count], objective.distributions) for count in counts]
    regrets = {trial.number: objective.regret(trial.params) for trial in recommended}
    return CellResult(
        cell.sampler,
        cell.problem,
        cell.seed,
        cell.trials,
        tuple(regrets[trial.number] for trial in recommended),
        sum(history.seconds),
        max(history.seconds),
        len(history.errors),
        history.errors[0] if history.errors else "",
    )


@dataclass(frozen=True)
class History:
    """The trials of a study, in their order, without failed ones."""

    objective: Objective
    trials: Sequence[FrozenTrial]
    seconds: Sequence[float]  #: of each proposal
    errors: Sequence[str]  #: of proposals


@lru_cache(maxsize=1)  # the rules of recommendation share the trials of one study
def trials_of(cell: Cell) -> History:
    """Run the trials of a study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective = make_objective(problems()[cell.problem], cell.seed)
    trials: list[FrozenTrial] = []
    seconds: list[float] = []
    errors: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of Optuna's samplers are experimental
        study = optuna.create_study(sampler=_make_sampler(cell, objective))
        for number in range(cell.trials):
            started = time.perf_counter()
            try:
                trial = study.ask(dict(objective.distributions))
            except Exception as error:  # whatever a sampler raises is a failure of this sampler
                errors.append(f"{type(error).__name__}: {error}")
                trial = _random_trial(study, objective, trial_seed(cell.seed, number))
            asked = time.perf_counter()
            value = objective.observe(trial.params)
            observed = time.perf_counter()
            trials.append(study.tell(trial, value))
            seconds.append(asked - started + time.perf_counter() - observed)
    return History(objective, trials, seconds, errors)


def _make_sampler(cell: Cell, objective: Objective) -> BaseSampler:
    if belief := BELIEFS.get(cell.sampler):
        return GPSampler(seed=cell.seed, priors=priors(objective, belief, cell.seed))
    return {**SAMPLERS, **ABLATIONS}[cell.sampler](cell.seed)


def _random_trial(study: optuna.Study, objective: Objective, seed: int) -> Trial:
    """A trial with a random configuration, in the place of a proposal that failed."""
    for running in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(running.number, state=optuna.trial.TrialState.FAIL)
    sampler, study.sampler = study.sampler, RandomSampler(seed=seed)
    try:
        return study.ask(dict(objective.distributions))
    finally:
        study.sampler = sampler
