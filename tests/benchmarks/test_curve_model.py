"""The model of learning curves against a dense Gaussian process in float64, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.efficiency import curve_model as model
from benchmarks.efficiency.curve_model import LearningCurve, predict_ends


def curves_of(lengths: list[int], seed: int = 0, columns: int = 3) -> list[LearningCurve]:
    """Curves that approach limits near 0.5, after so many epochs of twelve."""
    rng = np.random.default_rng(seed)
    curves = []
    for length in lengths:
        progress = np.arange(1, 13) * rng.uniform(0.5, 2.0)
        scores = 0.5 + 0.05 * rng.standard_normal() - 0.3 * np.exp(-progress / 6)
        scores = np.maximum.accumulate(scores + 0.005 * rng.standard_normal(12))
        curves.append(LearningCurve(rng.random(columns), progress[:length], scores[:length], progress[-1]))
    return curves


def dense_ends(curves: list[LearningCurve]) -> list[tuple[float, float]]:
    """Mean and variance of each end by the kernel itself, over all scores and ends at once."""
    best = np.array([max(curve.scores) for curve in curves])
    above = best[best >= np.median(best)] - np.median(best)
    ceiling = best.max() + max(model.CEILING * np.sqrt(np.mean(above**2)), 0.01 * best.max(), 1e-6)
    values = [-np.log(ceiling - curve.scores) for curve in curves]
    centre, unit = np.median([value[-1] for value in values]), np.std(np.concatenate(values))
    typical = np.median([curve.end for curve in curves])
    rows = [(trial, s) for trial, curve in enumerate(curves) for s in curve.progress]
    count, targets = len(rows), (np.concatenate(values) - centre) / unit
    rows += [(trial, curve.end) for trial, curve in enumerate(curves)]
    found = []
    for time in model.TIME_SCALES:
        decay = np.exp(-np.array([s for _, s in rows])[:, None] / (typical * time) * model.RATES)
        own = np.equal.outer([trial for trial, _ in rows], [trial for trial, _ in rows])
        inputs = np.array([curves[trial].inputs - 0.5 for trial, _ in rows])
        similar = model.SHARED_TERM**2 + model.BY_CONFIGURATION**2 / inputs.shape[1] * inputs @ inputs.T
        kernel = model.SHARED_LIMIT**2 + similar * (decay @ decay.T)
        kernel += own * (model.OWN_LIMIT**2 + model.OWN_TERM**2 * (decay @ decay.T))
        mean = -model.GAIN * decay.sum(axis=1)
        observed = kernel[:count, :count] + model.NOISE**2 * np.eye(count)
        gain = np.linalg.solve(observed, kernel[:count, count:]).T
        square = (targets - mean[:count]) @ np.linalg.solve(observed, targets - mean[:count])
        scale = (model.SCALE_COUNT + square) / (model.SCALE_COUNT + count)
        # The marginal likelihood with the scale integrated out is a multivariate t density.
        density = stats.multivariate_t(mean[:count], observed, df=model.SCALE_COUNT).logpdf(targets)
        density += stats.norm(0, model.TIME_SCALE_DEVIATION).logpdf(np.log(time))
        ends = mean[count:] + gain @ (targets - mean[:count])
        variance = (
            model.VARIANCE_FACTOR * scale * np.diag(kernel[count:, count:] - gain @ kernel[:count, count:])
        )
        found.append((density, centre + unit * ends, unit * np.sqrt(variance)))
    _, ends, deviations = max(found, key=lambda entry: entry[0])
    result = []
    for end, deviation, score in zip(ends, deviations, best, strict=True):
        low = (-np.log(ceiling - score) - end) / deviation
        truncated = stats.truncnorm(low, np.inf, end, deviation)
        scores = ceiling - np.exp(-truncated.ppf(model.QUANTILES))
        result.append((scores.mean(), scores.var()))
    return result


def test_the_prediction_is_that_of_the_dense_process() -> None:
    curves = curves_of([1, 2, 4, 5, 6, 3, 6, 4])
    for end, (score, variance) in zip(predict_ends(curves), dense_ends(curves), strict=True):
        assert end.score == pytest.approx(score, abs=1e-7)
        assert end.variance == pytest.approx(variance, rel=1e-4)


def test_a_long_curve_is_thinned_and_keeps_its_last_score() -> None:
    long = curves_of([12] * 6)
    for curve, end in zip(long, predict_ends(long), strict=True):
        assert curve.scores[-1] <= end.score < curve.scores[-1] + 0.02
        assert end.variance < 0.01**2


def test_no_end_lies_below_the_best_score_so_far_and_less_is_known_of_shorter_curves() -> None:
    curves = curves_of([12] * 8 + [2, 6])
    ends = predict_ends(curves)
    assert all(end.score >= curve.scores[-1] for curve, end in zip(curves, ends, strict=True))
    assert ends[-2].variance > ends[-1].variance > ends[0].variance


def test_slow_starters_are_known_by_their_kind() -> None:
    """Half of the configurations start slowly, and end as high; the model sees which by the first column."""
    rng = np.random.default_rng(0)
    curves = []
    for number in range(14):
        slow = number % 2
        progress = np.arange(1, 13, dtype=float)
        limit = 0.55 + 0.01 * rng.standard_normal()
        scores = limit - 0.35 * np.exp(-progress / (4.0 if slow else 1.0))
        length = 12 if number < 12 else 2
        curves.append(LearningCurve(np.array([slow, rng.random()]), progress[:length], scores[:length], 12.0))
    quick, slow = predict_ends(curves)[-2:]
    assert curves[-1].scores[-1] < 0.36 < 0.45 < curves[-2].scores[-1]
    assert quick.score == pytest.approx(0.55, abs=0.03)
    assert slow.score == pytest.approx(0.54, abs=0.04)


def test_one_score_of_one_trial_is_enough() -> None:
    curve = LearningCurve(np.array([0.5]), np.array([1.0]), np.array([0.3]), 12.0)
    end = predict_ends([curve])[0]
    assert 0.3 <= end.score < 1.0
    assert np.isfinite(end.variance)
    flat = curve._replace(scores=np.array([0.0]))
    assert np.isfinite(predict_ends([flat, flat])[0].score)
