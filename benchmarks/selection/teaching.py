"""Teachers of the pseudo-tests: what the best configurations predict out of fold, and what was learned."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.selection.quarters import corpus
from benchmarks.selection.rules import PSEUDO_TESTS, PseudoTest, at_best, truth
from benchmarks.selection.tables import Measured, rows_of_quarter
from rigsl.training.teacher import Teacher

#: The weights and temperatures that are tried.
TEACHINGS = ((0.3, 1.0), (0.6, 1.0), (0.9, 1.0), (0.6, 2.0))


def teacher(
    measured: Measured, test: PseudoTest, numbers: list[int], weight: float, temperature: float
) -> Teacher:
    """The mean of what these configurations predict for the folds that they left out."""
    parts = [
        (rows_of_quarter(fold), np.log(measured.probability(number, test.without(fold), fold)))
        for number in numbers
        for fold in test.train.learned
    ]
    return Teacher.out_of_fold(parts, corpus(), weight=weight, temperature=temperature, origin="finalists")


def taught_scores(measured: Measured) -> pd.DataFrame:
    """Pseudo-test scores of taught trainings, and of the same configurations untaught."""
    rows = []
    taught = measured.curves.dropna(subset=["weight"])
    for number, part in taught[["number", "part"]].drop_duplicates().itertuples(index=False):
        test = next(test for test in PSEUDO_TESTS if test.train.name == part)
        for teaching in TEACHINGS:
            scores = measured.scores(int(number), test.train, 0, teaching)
            if scores is not None:
                rows.append({
                    "quarter": test.quarter, "number": int(number),
                    "weight": teaching[0], "temperature": teaching[1],
                    "taught": at_best(scores, f"held{test.quarter}"),
                    "untaught": truth(measured, int(number), test),
                })  # fmt: skip
    return pd.DataFrame(rows)
