"""Features on the scale of the training split: mean 0 and standard deviation 1 there, clipped."""

from __future__ import annotations

import numpy as np

LIMIT = 5.0  #: standardised features are clipped to [-LIMIT, LIMIT]
#: A column varies less than this share of its mean: rounding, in a column that is constant.
_ROUNDING = 1e-10
_CHUNK = 4096  # rows that are scaled at a time


def mean_and_std(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the known values of each column of [U, D], float64 [D] each.

    NaN is an unknown value. The standard deviation of a constant column is 1, and a column without a known
    value has mean 0, so that both are 0 when they are standardised.
    """
    known = ~np.isnan(table)
    if known.all():
        mean, std = table.mean(axis=0, dtype=np.float64), table.std(axis=0, dtype=np.float64)
    else:
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, table, 0.0).sum(axis=0, dtype=np.float64) / count
        std = np.sqrt(np.where(known, (table - mean) ** 2, 0.0).sum(axis=0, dtype=np.float64) / count)
    std[std <= _ROUNDING * np.abs(mean)] = 1.0
    return mean, std


def standardise(table: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(value - mean) / std, clipped, float32 [U, D]; an unknown value becomes 0, the mean."""
    result = np.empty(table.shape, dtype=np.float32)
    for begin in range(0, len(table), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        result[part] = np.nan_to_num(np.clip((table[part] - mean) / std, -LIMIT, LIMIT), nan=0.0)
    return result
