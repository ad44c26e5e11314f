"""What a search hands over, on the pseudo-tests: the best trial on dev, or the finals' answers.

A simulated study has tried some of the measured configurations. What others hand over is the trial with the
best score on dev, as it was trained. The finals train the best eight of them without each fold in turn; the
configuration with the best mean on the folds is trained once more, and the better half of them is averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.selection.rules import (
    FINAL_RULES,
    PSEUDO_TESTS,
    SEED,
    STUDY_SIZE,
    TEACHERS,
    TRIAL_RULES,
    predicted,
    truth,
)
from benchmarks.selection.tables import Measured, f1_of, rows_of_quarter

#: Simulated studies of each pseudo-test.
STUDIES = 100
BEST_TRIAL, CONFIGURATION, AVERAGE = "best trial on dev", "configuration", "average"


def handed_over(measured: Measured, numbers: Sequence[int], studies: int = STUDIES) -> pd.DataFrame:
    """Weighted F1 on the pseudo-test of what is handed over: a row for each study and pseudo-test."""
    rng = np.random.default_rng(SEED)
    chosen = [rng.permutation(numbers)[:STUDY_SIZE].tolist() for _ in range(studies)]
    rows = []
    for test in PSEUDO_TESTS:
        on_dev, on_fold, on_folds = (
            {number: rule(measured, number, test) for number in numbers}
            for rule in (
                TRIAL_RULES["dev, best epoch"],
                TRIAL_RULES["dev and a fold that is left out, best epoch"],
                FINAL_RULES["folds, epoch chosen on dev"],
            )
        )
        worth = {number: truth(measured, number, test) for number in numbers}
        means = {number: np.mean(predicted(measured, number, test), axis=0) for number in numbers}
        tested = rows_of_quarter(test.quarter)
        for study, tried in enumerate(chosen):
            finalists = sorted(tried, key=lambda number: -on_fold[number])[:TEACHERS]
            ranked = sorted(finalists, key=lambda number: -on_folds[number])
            members = ranked[: max(1, len(ranked) // 2)]
            rows.append({
                "quarter": test.quarter, "study": study,
                BEST_TRIAL: worth[max(tried, key=on_dev.__getitem__)],
                CONFIGURATION: worth[ranked[0]],
                AVERAGE: f1_of(np.mean([means[number] for number in members], axis=0), tested),
            })  # fmt: skip
    return pd.DataFrame(rows)
