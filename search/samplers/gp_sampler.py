"""gp: Bayesian optimisation of the whole configuration, by expected improvement per second of training.

Optuna's GPSampler models the parameters that every trial has and needs a second for a proposal after a
hundred trials. This one models all of them, conditional ones too, in some hundredths of a second, and knows
more of a study:

- the score of a pruned trial is extrapolated and has a variance of its own (imputed_scores.py);
- scores below the median are log-compressed, so that outliers do not dominate the length scales;
- the acquisition function is log expected improvement (Ament et al., NeurIPS 2023). Because scores are noisy,
  it is the improvement over the best posterior mean, not over the best score;
- improvement counts per second of training (Snoek et al., NeurIPS 2012), by a second Gaussian process of the
  logarithm of an epoch's time. That time is an estimate: measured times differ from run to run, and the
  proposals would, too;
- running trials count as if they had ended with their posterior mean (Kriging believer, Ginsbourger et al.,
  2010), so that concurrent trials differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import optuna
import threadpoolctl
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.record import record
from search.samplers.acquisition import compress_low_scores, log_expected_improvement
from search.samplers.encoding import Conditions, Encoder, Floats
from search.samplers.factory import trial_seed
from search.samplers.gp import COST_NOISE_PRIOR, SCORE_NOISE_PRIOR
from search.samplers.grouped import Group, GroupedSampler, RelativeSampler, StudyView
from search.samplers.imputed_scores import SCORE_VARIANCE, with_imputed_scores
from search.samplers.kernel_cache import COST_KERNEL, SCORE_KERNEL, KernelCache
from search.samplers.parameter_groups import conditions, distributions
from search.space.space import Space

#: Ended trials that the surrogate model sees: its time grows with their cube.
MAX_TRIALS = 250
#: Ended trials with a known cost, below which the cost is not modelled.
MIN_COST_TRIALS = 5
#: Candidates of the acquisition function: first random ones, then, in each round, so many neighbours of each
#: of the best ones, at half the distance of the round before.
RANDOM_CANDIDATES, NEIGHBOURS, BEST_CANDIDATES, ROUNDS, FIRST_DISTANCE = 1000, 60, 5, 5, 0.2


def make_gp(
    space: Space, seed: int, number: int, *, view: StudyView = with_imputed_scores, **options: Any
) -> GroupedSampler:
    """gp over all parameters, with `options` of `GaussianProcessSampler`; it sees a study through `view`."""
    own_seed = trial_seed(seed, number)
    sampler = GaussianProcessSampler(own_seed, conditions=conditions(space), **options)
    return GroupedSampler([Group(distributions(space), lambda study: sampler)], own_seed, MAX_TRIALS, view)


class GaussianProcessSampler(RelativeSampler):
    """Proposes where Gaussian processes of score and cost expect the largest improvement per second.

    Args:
        seed: of its candidates.
        startup: ended trials before its first proposal; until then, the configurations are random.
        cost_exponent: of an epoch's seconds, by which an improvement is divided; 0: cost does not count.
        conditions: of the parameters that do not always exist.
    """

    def __init__(
        self,
        seed: int,
        startup: int = 7,
        cost_exponent: float = 1.0,
        conditions: Conditions | None = None,
    ) -> None:
        self._rng, self._conditions = np.random.default_rng(seed), conditions or {}
        self._startup, self._cost_exponent = startup, cost_exponent

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter; nothing before `startup` trials have ended."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        ended = [other for other in others if other.state == TrialState.COMPLETE]
        if len(ended) < self._startup or not search_space:
            return {}
        # Trials keep all cores busy: more threads would only wait for each other.
        with _thread_pools().limit(limits=1):
            encoder = Encoder(search_space, self._conditions)
            return self._propose(encoder, others, ended, KernelCache(study, trial, others))

    def _propose(
        self,
        encoder: Encoder,
        others: Sequence[FrozenTrial],
        ended: Sequence[FrozenTrial],
        kernels: KernelCache,
    ) -> dict[str, Any]:
        inputs = encoder.encode([trial.params for trial in ended])
        scores, slopes = compress_low_scores(np.array([trial.values[0] for trial in ended]))
        variances = slopes**2 * [trial.user_attrs.get(SCORE_VARIANCE, 0.0) for trial in ended]
        surrogate = kernels.gaussian_process(
            SCORE_KERNEL, SCORE_NOISE_PRIOR, inputs, scores, variances, encoder
        )
        incumbent = float(surrogate.mean(inputs).max())
        running = encoder.encode(
            [trial.params for trial in others if trial.state == TrialState.RUNNING and trial.params]
        )
        if len(running):
            surrogate = surrogate.kriging_believer(running)
        log_cost = self._log_cost(kernels, encoder, ended, inputs)

        def acquisition(candidates: Floats) -> Floats:
            improvement = log_expected_improvement(*surrogate.predict(candidates), incumbent)
            return np.asarray(improvement - self._cost_exponent * log_cost(candidates))

        return encoder.decode(self._maximise(acquisition, encoder, inputs, running))

    def _log_cost(
        self, kernels: KernelCache, encoder: Encoder, ended: Sequence[FrozenTrial], inputs: Floats
    ) -> Callable[[Floats], Floats]:
        """A model of the logarithm of an epoch's seconds, up to a constant. [n, columns] -> [n]"""
        rows = [row for row, trial in enumerate(ended) if trial.user_attrs.get(record.ESTIMATE, 0) > 0]
        if not self._cost_exponent or len(rows) < MIN_COST_TRIALS:
            return lambda candidates: np.zeros(len(candidates))
        log_seconds = np.log([ended[row].user_attrs[record.ESTIMATE] for row in rows])
        spread = float(log_seconds.std()) + 1e-9
        targets = (log_seconds - log_seconds.mean()) / spread
        model = kernels.gaussian_process(
            COST_KERNEL, COST_NOISE_PRIOR, inputs[rows], targets, np.zeros(len(rows)), encoder
        )
        return lambda candidates: spread * model.mean(candidates)

    def _maximise(
        self, acquisition: Callable[[Floats], Floats], encoder: Encoder, ended: Floats, running: Floats
    ) -> Floats:
        """The configuration with the highest acquisition that has neither been tried nor runs. [columns]

        Candidates are random configurations and neighbours of the best ended ones; then, round after round,
        nearer neighbours of the best candidates.
        """
        candidates = encoder.sample(self._rng, RANDOM_CANDIDATES)
        values, distance = acquisition(candidates), FIRST_DISTANCE
        centres = ended[np.argsort(-acquisition(ended))[:BEST_CANDIDATES]]
        for _ in range(ROUNDS):
            neighbours = encoder.neighbours(self._rng, centres, NEIGHBOURS, distance)
            candidates = np.concatenate([candidates, neighbours])
            values = np.concatenate([values, acquisition(neighbours)])
            centres, distance = candidates[np.argsort(-values)[:BEST_CANDIDATES]], distance / 2
        tried = {_row_key(row) for row in (*ended, *running)}
        order = np.argsort(-values)
        best = next((index for index in order if _row_key(candidates[index]) not in tried), order[0])
        return np.asarray(candidates[best])


@cache
def _thread_pools() -> threadpoolctl.ThreadpoolController:
    from scipy import linalg, optimize, special  # noqa: F401  their threads are limited, too

    return threadpoolctl.ThreadpoolController()


def _row_key(row: Floats) -> bytes:
    """Equal for equal configurations, whatever the rounding errors and the sign of zero."""
    return (np.round(row, 9) + 0.0).tobytes()
