"""Which trial a study recommends under noise: the best observed, or that with the best posterior mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import threadpoolctl
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from search.samplers.acquisition import compress_low_scores
from search.samplers.encoding import Encoder, Floats
from search.samplers.gp import GaussianProcess, fit_hyperparameters

Trials, Space = Sequence[FrozenTrial], Mapping[str, BaseDistribution]
#: The trials of a study that minimises, and its parameters -> the trial that it recommends.
Rule = Callable[[Trials, Space], FrozenTrial]
#: With a larger p of Fisher's exact test, the model does not fit, as in Ax.
SIGNIFICANCE = 0.1


def best_observed(trials: Trials, space: Space) -> FrozenTrial:
    """The trial with the lowest value; of several ones the first."""
    return min(trials, key=lambda trial: trial.values[0])


def best_predicted(trials: Trials, space: Space) -> FrozenTrial:
    """The trial with the best posterior mean of gp's surrogate model."""
    return _predicted(trials, space)[0]


def best_predicted_if_it_fits(trials: Trials, space: Space) -> FrozenTrial:
    """The same where the model predicts left-out trials; else the trial with the lowest value.

    It fits where its leave-one-out predictions tell the better half of the trials beyond chance.
    """
    best, observed, left_out = _predicted(trials, space)
    return best if halves_p(observed, left_out) <= SIGNIFICANCE else best_observed(trials, space)


#: Name in the tables -> how gp's studies recommend.
RULES: Mapping[str, Rule] = {
    "gp, posterior mean": best_predicted,
    "gp, posterior mean if it fits": best_predicted_if_it_fits,
}


def _predicted(trials: Trials, space: Space) -> tuple[FrozenTrial, Floats, Floats]:
    """The trial with the best posterior mean; scores of all trials, observed and predicted by the others."""
    encoder = Encoder(space, {})
    inputs = encoder.encode([trial.params for trial in trials])
    scores, _ = compress_low_scores(-np.array([trial.values[0] for trial in trials]))
    known = np.zeros(len(trials))
    with threadpoolctl.threadpool_limits(limits=1):
        kernel = fit_hyperparameters(inputs, scores, known, encoder.column_parameter)
        process = GaussianProcess(inputs, scores, known, encoder.column_parameter, kernel)
        best = int(np.argmax(process.mean(inputs)))
        return trials[best], scores, process.leave_one_out()


def halves_p(observed: Floats, predicted: Floats) -> float:
    """The p of Fisher's exact test that both name the same half of the trials as the better one. [n], [n]"""
    from scipy import stats

    size = len(observed) // 2
    better = [set(np.argsort(values)[len(values) - size :].tolist()) for values in (observed, predicted)]
    both = len(better[0] & better[1])
    rest = len(observed) - 2 * size + both
    table = [[both, size - both], [size - both, rest]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
