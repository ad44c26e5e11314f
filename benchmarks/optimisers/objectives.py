"""Problem -> what a study minimises."""

from __future__ import annotations

from benchmarks.optimisers.coco import coco_objective
from benchmarks.optimisers.problems import TABULAR, Objective, Problem
from benchmarks.optimisers.tables import table_objective


def make_objective(problem: Problem, seed: int) -> Objective:
    """The problem of the study with this seed.

    Raises:
        UserError: its package is not installed.
    """
    return (table_objective if problem.family == TABULAR else coco_objective)(problem, seed)
