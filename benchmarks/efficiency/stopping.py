"""Early stopping and pausing, compared: ``python -m benchmarks.efficiency.stopping``.

Searches run in simulated time on the learning curves of RIGSL (the surrogate of ``benchmarks/curves``) and
on those of scikit-learn's perceptrons (`mlp_curves`: a table of real trainings, looked up). All methods
propose by the same sampler; they differ in what becomes of a trial after its first epochs.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
import threadpoolctl

from benchmarks.efficiency.baselines import epoch_costs
from benchmarks.efficiency.curve_table import meld, small_space
from benchmarks.efficiency.freeze_thaw import FreezeThaw
from benchmarks.efficiency.mlp_curves import DATA_SETS, TABLE, TRAIN_ROWS, mlp_space
from benchmarks.efficiency.run_study import BUDGETS, FloatArray, SurrogateBenchmark, validation_table
from benchmarks.efficiency.simulator import (
    CONTINUE,
    Assignment,
    Curve,
    Epoch,
    Limits,
    Method,
    SimulationResult,
    our_method,
    simulate,
)
from benchmarks.efficiency.summaries import interval, interval_text
from benchmarks.efficiency.surrogate import Surrogate
from benchmarks.markdown import markdown
from rigsl.config import RIGSLConfig
from rigsl.wording import counted
from search.record.trial_report import TrialReport
from search.space.schedule import Schedule
from search.space.space import Space

#: Shares of the budget at which the best score is read.
SHARES = (0.25, 0.5, 1.0)
#: A trial is among the best of its study if it is in this share of them.
BEST_SHARE = 1 / 3
#: Trials that a search hands over to its finals.
FINALISTS = 4
RIGSL = "rigsl"
#: Half the budgets of RIGSL: a grid has few configurations.
GRID_BUDGETS = {workers: budget / 2 for workers, budget in BUDGETS.items()}


@dataclass(frozen=True)
class CurveProblem:
    """A search space and its learning curves."""

    name: str
    space: Space
    curve: Callable[[Mapping[str, Any], int], Curve]  #: of a configuration in the study with this seed
    mean: Callable[[Mapping[str, Any]], FloatArray]  #: the same without the noise of a seed. [epochs]
    seconds: Callable[[RIGSLConfig], float]  #: expected duration of an epoch
    examples: int  #: that a training learns from
    training_seconds: float  #: of a mean training
    budgets: Mapping[int, float]  #: number of workers -> wall time of a study, in multiples of that


def rigsl_problem() -> CurveProblem:
    """RIGSL on MELD's open features."""
    space = small_space()
    surrogate = Surrogate(space, validation_table())
    return CurveProblem(
        "RIGSL",
        space,
        surrogate.curve,
        lambda config: surrogate.mean(surrogate.params(config)),
        epoch_costs(),
        len(meld().dialogues("train")),
        SurrogateBenchmark(space, surrogate).training_seconds,
        BUDGETS,
    )


def mlp_problem(name: str) -> CurveProblem:
    """Perceptrons on the data set `name`."""
    space, frame = mlp_space(), pd.read_parquet(TABLE)
    names = list(space.parameters)
    entries: dict[tuple[Any, ...], tuple[FloatArray, float]] = {}
    for key, group in frame[frame["data"] == name].groupby(names):
        scores = np.stack(group.sort_values("seed")["scores"].to_list())
        entries[key] = scores, float(group["seconds"].mean())

    def entry(config: Mapping[str, Any]) -> tuple[FloatArray, float]:
        return entries[tuple(config[parameter] for parameter in names)]

    def curve(config: Mapping[str, Any], study: int) -> Curve:
        scores, seconds = entry(config)
        text = repr([[config[parameter] for parameter in names], study]).encode()
        row = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % len(scores)
        return [Epoch(float(score), seconds) for score in scores[row]]

    return CurveProblem(
        f"perceptrons, {name}",
        space,
        curve,
        lambda config: np.asarray(entry(config)[0].mean(axis=0)),
        lambda config: entry(config.to_dict())[1],
        TRAIN_ROWS,
        float(np.mean([scores.shape[1] * seconds for scores, seconds in entries.values()])),
        GRID_BUDGETS,
    )


def _ours(problem: CurveProblem, workers: int, seed: int, grace: int = 1) -> Method:
    """The search of run_search.py with `grace` times the grace period of the space; 0: without stopping."""
    schedule = problem.space.schedule
    schedule = replace(schedule, grace=grace * schedule.grace) if grace else Schedule("none")
    study = optuna.create_study(direction="maximize")
    return our_method(
        study, problem.space, schedule=schedule, workers=workers, seed=seed, seconds=problem.seconds
    )


def _freeze(problem: CurveProblem, workers: int, seed: int, **options: Any) -> Method:
    return FreezeThaw(problem.space, seed, problem.seconds, problem.examples, **options)


ASHA = "ASHA"
#: Name -> method, made for a problem, a number of workers and a study seed.
RULES: Mapping[str, Callable[[CurveProblem, int, int], Method]] = {
    ASHA: _ours,
    "ASHA, twice the grace": partial(_ours, grace=2),
    "no stopping": partial(_ours, grace=0),
    "rungs compare predicted ends": partial(_freeze, thaw=False),
    "stopped trials are paused": _freeze,
    "paused, scores compared": partial(_freeze, predicted=False),
    "ASHA, without Ray": partial(_freeze, predicted=False, thaw=False),
}


class Watched:
    """A method, and the trials that it has stopped or paused so far."""

    def __init__(self, method: Method) -> None:
        self.method, self.stopped = method, set[str]()

    def suggest(self) -> Assignment | None:
        """As the method does; a trial that goes on is no longer stopped."""
        if (assignment := self.method.suggest()) is not None:
            self.stopped.discard(assignment.trial)
        return assignment

    def report(self, trial: str, report: TrialReport) -> str:
        """As the method does."""
        if (decision := self.method.report(trial, report)) != CONTINUE and not report.done:
            self.stopped.add(trial)
        return decision

    def cut_off(self, reason: str) -> None:
        """As the method does."""
        self.method.cut_off(reason)


class Outcome(NamedTuple):
    """One simulated search."""

    best: tuple[float, ...]  #: best score seen at SHARES of the budget
    finalists: float  #: mean expected score of the FINALISTS best trials
    slow: int  #: trials among the best third that were not after the first rung's epochs
    stopped: int  #: of these, stopped or paused until the end
    trials: int


def outcome(
    problem: CurveProblem, result: SimulationResult, stopped: Collection[str], budget: float
) -> Outcome:
    """What a search has found, and what it has stopped wrongly, judged without the noise of a seed."""
    means = {trial: problem.mean(config) for trial, config in result.configs.items()}
    ends = {trial: float(mean.max()) for trial, mean in means.items()}
    starts = {trial: float(mean[: problem.space.schedule.grace].max()) for trial, mean in means.items()}
    end, start = (float(np.quantile(list(values.values()), 1 - BEST_SHARE)) for values in (ends, starts))
    slow = [trial for trial in means if ends[trial] >= end and starts[trial] < start]
    return Outcome(
        tuple(result.best_at(share * budget) for share in SHARES),
        float(np.mean([ends[trial] for trial in result.best_trials_at(budget, FINALISTS)])),
        len(slow),
        len(set(slow) & set(stopped)),
        len(means),
    )


def run(problem: CurveProblem, name: str, workers: int, seed: int) -> Outcome:
    """One search."""
    budget = problem.budgets[workers] * problem.training_seconds
    method = Watched(RULES[name](problem, workers, seed))
    limits = Limits(seconds=budget)
    result = simulate(method, lambda config: problem.curve(config, seed), workers=workers, limits=limits)
    return outcome(problem, result, method.stopped, budget)


HEAD = (
    "early stopping", *(f"best F1 at {share:.0%} of the budget" for share in SHARES),
    "difference to ASHA at the end", "finalists, expected F1", "difference to ASHA", "trials",
    "slow starters stopped",
)  # fmt: skip


def cells(outcomes: Mapping[str, Sequence[Outcome]]) -> list[list[str]]:
    """The rows under HEAD; differences are paired by study seed."""
    rows, asha = [], outcomes[ASHA]
    for name, studies in outcomes.items():
        best = np.array([study.best for study in studies])
        finalists = np.array([study.finalists for study in studies])
        ends = best[:, -1] - [study.best[-1] for study in asha]
        chosen = finalists - [study.finalists for study in asha]
        slow, stopped = sum(study.slow for study in studies), sum(study.stopped for study in studies)
        rows.append(
            [
                name,
                *(interval_text(interval(column, "mean")) for column in best.T),
                "" if name == ASHA else interval_text(interval(ends, "mean"), signed=True),
                interval_text(interval(finalists, "mean")),
                "" if name == ASHA else interval_text(interval(chosen, "mean"), signed=True),
                f"{np.mean([study.trials for study in studies]):.0f}",
                f"{stopped / max(slow, 1):.0%} of {slow}",
            ]
        )
    return rows


def problems(names: Sequence[str]) -> Iterator[CurveProblem]:
    """The problems by name, each made when it is needed."""
    for name in names:
        yield rigsl_problem() if name == RIGSL else mlp_problem(name)


def main() -> None:
    """Run all searches and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.efficiency.stopping",
        description="Compare early stopping and pausing in simulated time.",
    )
    parser.add_argument("--studies", type=int, default=20, help="studies per method (default: 20)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first study (default: 0)")
    parser.add_argument("--workers", type=int, nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--problems", nargs="+", default=[RIGSL, *DATA_SETS], choices=[RIGSL, *DATA_SETS])
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES), metavar="NAME")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    threadpoolctl.threadpool_limits(1)
    seeds = range(args.first, args.first + args.studies)
    for problem in problems(args.problems):
        for workers in args.workers:
            outcomes = {
                name: [run(problem, name, workers, seed) for seed in seeds]
                for name in dict.fromkeys((ASHA, *args.rules))
            }
            print(f"\n**{problem.name}, {counted(workers, 'worker')}**\n", flush=True)
            print(markdown(HEAD, cells(outcomes)), flush=True)


if __name__ == "__main__":
    main()
