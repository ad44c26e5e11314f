"""gp: Bayesian optimisation of the whole configuration, by expected improvement per second of training.

Optuna's GPSampler models the parameters that every trial has and needs a second for a proposal after a
hundred trials. This one models all of them, conditional ones too, in about a tenth of a second, and knows
more of a study:

- the first trials are points of a scrambled Sobol sequence;
- the score of a pruned trial is extrapolated and has a variance of its own (imputed_scores.py);
- scores below the median are log-compressed, so that outliers do not dominate the length scales;
- the acquisition function is log expected improvement (Ament et al., NeurIPS 2023). Because scores are noisy,
  it is the improvement over the best posterior mean, not over the best score. The continuous parameters of
  the best candidates follow its gradient;
- improvement is the mean over draws of the kernel hyperparameters from their posterior density (Snoek et al.,
  NeurIPS 2012), which a few scores leave open;
- improvement counts per second of training (Snoek et al., NeurIPS 2012), by a second Gaussian process of the
  logarithm of an epoch's time. That time is an estimate: measured times differ from run to run, and the
  proposals would, too;
- what a researcher believes about parameters (priors) multiplies the expected improvement, to a power that
  falls with the number of trials (piBO, Hvarfner et al., ICLR 2022) and where scores contradict it; every
  second of the first trials is drawn from it (priors.py);
- running trials count as if they had ended with their posterior mean (Kriging believer, Ginsbourger et al.,
  2010), so that concurrent trials differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import optuna
import threadpoolctl
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.record import record
from search.samplers.acquisition import Acquisition, compress_low_scores
from search.samplers.candidates import CLIMBERS, best_candidate
from search.samplers.encoding import Conditions, Encoder, Floats
from search.samplers.factory import trial_seed
from search.samplers.gp import COST_NOISE_PRIOR, SCORE_NOISE_PRIOR, GaussianProcess
from search.samplers.grouped import Group, GroupedSampler, RelativeSampler, StudyView
from search.samplers.imputed_scores import SCORE_VARIANCE, with_imputed_scores
from search.samplers.kernel_cache import COST_KERNEL, SCORE_KERNEL, KernelCache
from search.samplers.parameter_groups import conditions, distributions, priors
from search.samplers.priors import PriorDensity, agreement, is_drawn
from search.samplers.qmc import at_quantile, sobol_shares
from search.space.prior import Prior
from search.space.space import Space

#: Ended trials that the surrogate model sees: its time grows with their cube.
MAX_TRIALS = 250
#: Draws of the kernel hyperparameters. The more trials, the fewer of them are used, so that a proposal stays
#: quick: what is uncertain about the kernel becomes less, too.
KERNEL_DRAWS, DRAWS_TIMES_TRIALS = 8, 800
#: The power of the priors' density is at most this number, divided by that of the trials so far.
PRIOR_WEIGHT = 10.0
#: Ended trials with a known cost, below which the cost is not modelled.
MIN_COST_TRIALS = 5


def make_gp(
    space: Space, seed: int, number: int, *, view: StudyView = with_imputed_scores, **options: Any
) -> GroupedSampler:
    """gp over all parameters, with `options` of `GaussianProcessSampler`; it sees a study through `view`."""
    own_seed = trial_seed(seed, number)
    options = {"design_seed": seed, "conditions": conditions(space), "priors": priors(space), **options}
    sampler = GaussianProcessSampler(own_seed, **options)
    return GroupedSampler([Group(distributions(space), lambda study: sampler)], own_seed, MAX_TRIALS, view)


class GaussianProcessSampler(RelativeSampler):
    """Proposes where Gaussian processes of score and cost expect the largest improvement per second.

    Args:
        seed: of its candidates.
        design_seed: of the scrambled Sobol sequence, the same for all trials of a study; None: the first
            trials are random.
        startup: ended trials before the surrogate proposes; until then, a trial takes its point of that
            sequence.
        cost_exponent: of an epoch's seconds, by which an improvement is divided; 0: cost does not count.
        conditions: of the parameters that do not always exist.
        noise_prior: mean and standard deviation of the logarithm of the scores' noise variance.
        draws: of the kernel hyperparameters, over which the improvement is averaged; 0: the most likely ones.
        climbers: of the best candidates, so many climb along the gradient of the acquisition.
        priors: what is believed about some of the parameters.
        prior_weight: of this belief, divided by the number of trials.
    """

    def __init__(
        self,
        seed: int,
        design_seed: int | None = 0,
        startup: int = 7,
        cost_exponent: float = 1.0,
        conditions: Conditions | None = None,
        noise_prior: tuple[float, float] = SCORE_NOISE_PRIOR,
        draws: int = KERNEL_DRAWS,
        climbers: int = CLIMBERS,
        priors: Mapping[str, Prior] | None = None,
        prior_weight: float = PRIOR_WEIGHT,
    ) -> None:
        self._rng, self._conditions = np.random.default_rng(seed), conditions or {}
        self._design_seed, self._startup, self._cost_exponent = design_seed, startup, cost_exponent
        self._noise_prior, self._draws, self._climbers = noise_prior, draws, climbers
        self._priors, self._prior_weight = priors or {}, prior_weight
        self.acquisition: Acquisition | None = None  #: of the last proposal by the surrogate

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter of `search_space`."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        ended = [other for other in others if other.state == TrialState.COMPLETE]
        encoder = Encoder(search_space, self._conditions)
        density = PriorDensity(encoder, search_space, self._priors)
        if len(ended) < self._startup or not search_space:
            return self._first_proposal(search_space, density, trial.number)
        # Trials keep all cores busy: more threads would only wait for each other.
        with _thread_pools().limit(limits=1):
            kernels = KernelCache(study, trial, others, self._rng)
            power = self._prior_weight / max(trial.number, 1)
            return self._propose(encoder, density.to_power(power), others, ended, kernels)

    def _first_proposal(
        self, search_space: dict[str, BaseDistribution], density: PriorDensity, number: int
    ) -> dict[str, Any]:
        """A point of the Sobol sequence, for every second trial at the quantiles of the priors."""
        drawn = bool(density) and is_drawn(number)
        if self._design_seed is not None:
            point = next(sobol_shares(len(search_space), self._design_seed, number))
        elif drawn:
            point = self._rng.random(len(search_space)).tolist()
        else:
            return {}
        shares = dict(zip(search_space, point, strict=True))
        params = {name: at_quantile(entry, shares[name]) for name, entry in search_space.items()}
        return density.at(params, shares) if drawn else params

    def _propose(
        self,
        encoder: Encoder,
        density: PriorDensity,
        others: Sequence[FrozenTrial],
        ended: Sequence[FrozenTrial],
        kernels: KernelCache,
    ) -> dict[str, Any]:
        inputs = encoder.encode([trial.params for trial in ended])
        scores, slopes = compress_low_scores(np.array([trial.values[0] for trial in ended]))
        variances = slopes**2 * [trial.user_attrs.get(SCORE_VARIANCE, 0.0) for trial in ended]
        known = kernels.hyperparameters(
            SCORE_KERNEL, self._noise_prior, inputs, scores, variances, encoder, self._draws
        )
        used = known[1 : 1 + max(1, DRAWS_TIMES_TRIALS // len(inputs))] if self._draws else known
        columns = encoder.column_parameter
        surrogates = [GaussianProcess(inputs, scores, variances, columns, kernel) for kernel in used]
        incumbents = [float(surrogate.mean(inputs).max()) for surrogate in surrogates]
        running = encoder.encode(
            [trial.params for trial in others if trial.state == TrialState.RUNNING and trial.params]
        )
        if len(running):
            surrogates = [surrogate.kriging_believer(running) for surrogate in surrogates]
        cost, cost_weight = self._log_cost(kernels, encoder, ended, inputs)
        belief = density.to_power(density.power * agreement(density.log(inputs), scores)) if density else None
        acquisition = self.acquisition = Acquisition(surrogates, incumbents, cost, cost_weight, belief)
        return encoder.decode(
            best_candidate(acquisition, encoder, self._rng, inputs, running, self._climbers)
        )

    def _log_cost(
        self, kernels: KernelCache, encoder: Encoder, ended: Sequence[FrozenTrial], inputs: Floats
    ) -> tuple[GaussianProcess | None, float]:
        """A model of the logarithm of an epoch's seconds, up to a constant, and its weight."""
        rows = [row for row, trial in enumerate(ended) if trial.user_attrs.get(record.ESTIMATE, 0) > 0]
        if not self._cost_exponent or len(rows) < MIN_COST_TRIALS:
            return None, 0.0
        log_seconds = np.log([ended[row].user_attrs[record.ESTIMATE] for row in rows])
        spread = float(log_seconds.std()) + 1e-9
        targets = (log_seconds - log_seconds.mean()) / spread
        known = inputs[rows], targets, np.zeros(len(rows))
        [kernel] = kernels.hyperparameters(COST_KERNEL, COST_NOISE_PRIOR, *known, encoder)
        model = GaussianProcess(*known, encoder.column_parameter, kernel)
        return model, self._cost_exponent * spread


@cache
def _thread_pools() -> threadpoolctl.ThreadpoolController:
    from scipy import linalg, optimize, special  # noqa: F401  their threads are limited, too

    return threadpoolctl.ThreadpoolController()
