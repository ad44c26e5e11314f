"""Features on the scale of the training split."""

from __future__ import annotations

import numpy as np

from rigsl.data.scaling import LIMIT, mean_and_std, standardise


def test_known_values_alone_make_mean_and_deviation():
    table = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [5.0, 7.0, np.nan]])
    mean, std = mean_and_std(table)
    np.testing.assert_allclose(mean, [3.0, 6.0, 0.0])
    np.testing.assert_allclose(std, [np.sqrt(8 / 3), 1.0, 1.0])
    scaled = standardise(table, mean, std)
    np.testing.assert_array_equal(scaled[:, 2], 0.0)
    assert scaled[0, 1] == 0.0


def test_a_constant_column_is_zero_and_a_column_of_tiny_numbers_is_not():
    table = np.stack([np.full(1000, 0.1), np.linspace(0, 1e-12, 1000), np.full(1000, 1e12)], axis=1)
    scaled = standardise(table, *mean_and_std(table))
    np.testing.assert_allclose(scaled[:, [0, 2]], 0.0, atol=1e-6)
    np.testing.assert_allclose(scaled[:, 1].std(), 1.0, rtol=1e-4)


def test_outliers_are_clipped():
    scaled = standardise(np.array([[1e30], [-1e30]]), np.zeros(1), np.ones(1))
    np.testing.assert_array_equal(scaled[:, 0], [LIMIT, -LIMIT])
    assert scaled.dtype == np.float32


def test_many_rows_are_scaled_like_few():
    table = np.random.default_rng(0).normal(3.0, 2.0, (10_000, 3))
    scaled = standardise(table, *mean_and_std(table))
    expected = ((table - table.mean(axis=0)) / table.std(axis=0)).clip(-LIMIT, LIMIT)
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-5)
