"""Hyperparameter search for RIGSL: Ray Tune runs trials, Optuna proposes and records them, MLflow tracks.

Run a search, and read its results::

    import search

    if __name__ == "__main__":
        plan = search.prepare(search.SearchOptions(dataset="MELD", trials=20))
        outcome = search.run(plan)
        results = search.load_study(outcome.plan.folder)
        print(results.trials_frame().sort_values("score", ascending=False))
        print(results.curves_frame().groupby("epoch")["score"].max())
        print(results.best, results.final.test)
        print({name: answer.winner.weighted_f1.mean for name, answer in results.answers.items()})

`run` prints its progress and leaves a run folder, ``runs/STUDY``: `results.best` is its checkpoint folder,
which `rigsl.load_checkpoint` reads, and ``report.html`` its report. `results.answers` has what was opened on
test: the configuration (mean over fresh seeds), and where the study has them the taught model and the
average of trainings, each with the baseline in the same form. An interrupted study continues with
``SearchOptions(resume="STUDY")``. `python run_search.py` does the same from the shell; ``--help`` explains
the options. The packages, along the way of a trial:

space       search spaces: parameters, budgets, scheduler and final stage from a TOML file
record      every trial, its state and scores, in an Optuna storage
resources   workers, GPU shares, memory limit, Ray clusters
samplers    what to try next: Gaussian process, TPE, CMA-ES and others
schedulers  which weak trials are stopped early: successive halving, Hyperband, median rule, PBT
plan        the user's options, checked before anything is written
execution   the driver, and the trainings in Ray's workers
confirm     finalists, racing, the one test, statistics
export      the result: checkpoint, model card, rerun
tracking    MLflow
report      the report of a study, comparisons
terminal    what is printed
study       `run`; results: `load_study`; run_folder: the names of all files; cli: the command line

`import search` is fast: the names below import PyTorch and Ray when they are first used. It sets the
environment variables that Ray then reads; see search/resources/environment.py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from search.resources.environment import set_variables

if TYPE_CHECKING:
    from search.confirm.answers import Answer
    from search.plan.new_study import prepare
    from search.plan.options import SearchOptions
    from search.plan.plan import Plan
    from search.results import Outcome, StudyResults, TrialResult, load_study
    from search.study import run

__all__ = [
    "Answer",
    "Outcome",
    "Plan",
    "SearchOptions",
    "StudyResults",
    "TrialResult",
    "load_study",
    "prepare",
    "run",
]

#: Public name -> the module that defines it.
_MODULES = {
    "SearchOptions": "search.plan.options",
    "prepare": "search.plan.new_study",
    "Plan": "search.plan.plan",
    "run": "search.study",
    "Outcome": "search.results",
    "load_study": "search.results",
    "StudyResults": "search.results",
    "TrialResult": "search.results",
    "Answer": "search.confirm.answers",
}

set_variables()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'search' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
