"""Variance components and shrunken means against formulas for balanced data, and against the truth."""

import numpy as np
import pytest

from search.trust import variance
from search.trust.variance import fit_variances


def balanced(worth: np.ndarray, blocks: np.ndarray, noise: np.ndarray) -> list[dict[int, float]]:
    """Scores of finalists under blocks."""
    scores = worth[:, None] + blocks + noise
    return [dict(enumerate(row)) for row in scores.tolist()]


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("blocked", [True, False])
def test_means_are_drawn_to_that_of_all_finalists(
    share: float, blocked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    scores = balanced(rng.normal(size=5), rng.normal(size=3), rng.normal(size=(5, 3)))
    monkeypatch.setattr(variance, "SHARES", np.array([share]))
    fit = fit_variances(scores, blocked)
    raw = np.array([np.mean([*own.values()]) for own in scores])
    weight = share / (share + (1 - share) / 3)
    np.testing.assert_allclose(fit.means, raw.mean() + weight * (raw - raw.mean()), atol=1e-9)
    assert fit.reliability(3) == pytest.approx(weight)
    if blocked:
        blocks = np.mean([[own[block] for block in range(3)] for own in scores], axis=0)
        np.testing.assert_allclose(fit.blocks, blocks - blocks.mean(), atol=1e-9)


def test_the_components_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(1)
    scores = balanced(
        0.02 * rng.normal(size=100), 0.03 * rng.normal(size=6), 0.01 * rng.normal(size=(100, 6))
    )
    fit = fit_variances(scores, blocked=True)
    assert np.sqrt(fit.residual) == pytest.approx(0.01, rel=0.1)
    assert np.sqrt(fit.between) == pytest.approx(0.02, rel=0.2)
    assert fit.reliability(6) == pytest.approx(0.96, abs=0.02)
    assert fit.block_variance > 0.01**2


def test_errors_of_the_means_are_as_large_as_they_say() -> None:
    rng, errors, said = np.random.default_rng(2), [], []
    for _ in range(200):
        worth = 0.01 * rng.normal(size=6)
        scores = balanced(worth, np.zeros(3), 0.01 * rng.normal(size=(6, 3)))
        scores[5].pop(2)
        fit = fit_variances(scores, blocked=False)
        errors.append(fit.means - worth)
        said.append(np.diag(fit.covariance))
    np.testing.assert_allclose(np.sqrt(np.mean(said)), np.std(errors), rtol=0.15)


def test_the_best_of_alike_finalists_is_not_better() -> None:
    rng = np.random.default_rng(3)
    noise = 0.01 * rng.normal(size=(8, 3))
    fit = fit_variances(balanced(np.zeros(8), np.zeros(3), noise), blocked=False)
    raw = noise.mean(axis=1)
    assert np.ptp(fit.means) < np.ptp(raw) / 2
    assert fit.regret(int(raw.argmax())) < fit.regret(int(raw.argmin()))


def test_a_single_finalist_has_its_own_mean_and_too_few_scores_have_no_spread() -> None:
    fit = fit_variances([{0: 0.5, 1: 0.6}], blocked=True)
    assert fit.means.tolist() == [pytest.approx(0.55)]
    assert fit.covariance[0, 0] == pytest.approx(0.05**2)
    assert fit.block_variance is None
    assert fit_variances([{0: 0.5}], blocked=True) is None
    assert fit_variances([{0: 0.5}, {1: 0.5}], blocked=True) is None
    assert fit_variances([], blocked=False) is None


def test_few_degrees_of_freedom_widen_intervals() -> None:
    one = fit_variances([{0: 0.5, 1: 0.6}], blocked=False)
    many = fit_variances([dict.fromkeys(range(50), 0.5) | {0: 0.6}], blocked=False)
    assert one.inflation == pytest.approx((12.706 / 1.96) ** 2, rel=0.01)
    assert many.inflation == pytest.approx(1, abs=0.06)
