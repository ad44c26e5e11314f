"""gp: Bayesian optimisation of the whole configuration, by expected improvement per second of training.

Optuna's GPSampler models the parameters that every trial has and needs a second for a proposal after a
hundred trials. This one models all of them, conditional ones too, in some hundredths of a second, and knows
more of a study:

- a pruned trial counts with its predicted score, which has a variance of its own, and so does a running one
  after its first epoch (imputed_scores.py);
- scores below the median are log-compressed, so that outliers do not dominate the length scales;
- the acquisition function is log expected improvement (Ament et al., NeurIPS 2023). Because scores are noisy,
  it is the improvement over the best posterior mean, not over the best score;
- improvement counts per second of training (Snoek et al., NeurIPS 2012), by a second Gaussian process of the
  logarithm of an epoch's time. That time is an estimate: measured times differ from run to run, and the
  proposals would, too;
- running trials without an epoch count as if they had ended with their posterior mean (Kriging believer,
  Ginsbourger et al., 2010);
- a near copy of a known trial is not proposed: one that differs by less than the noise of a training lets
  see. From a running trial a proposal differs in more than one parameter that matters. To train a
  configuration once more, with another seed, is what the final stage is for.
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
from search.samplers.gp import COST_NOISE_PRIOR, SCORE_NOISE_PRIOR, GaussianProcess
from search.samplers.grouped import Group, GroupedSampler, RelativeSampler, StudyView
from search.samplers.imputed_scores import PREDICTED, SCORE_VARIANCE, with_imputed_scores
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
#: Near copies: see `_copy_correlation`; and what puts them behind all other candidates.
COPY_NOISE, COPY_FROM, COPY = 0.5, 0.9, 1e6


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
        running = [trial for trial in others if trial.state == TrialState.RUNNING and trial.params]
        seen = [*ended, *(trial for trial in running if PREDICTED in trial.user_attrs)]
        inputs = encoder.encode([trial.params for trial in seen])
        scores, slopes = compress_low_scores(np.array([_score(trial) for trial in seen]))
        variances = slopes**2 * [trial.user_attrs.get(SCORE_VARIANCE, 0.0) for trial in seen]
        surrogate = kernels.gaussian_process(
            SCORE_KERNEL, SCORE_NOISE_PRIOR, inputs, scores, variances, encoder
        )
        incumbent = float(surrogate.mean(inputs).max())
        begun = encoder.encode([trial.params for trial in running if PREDICTED not in trial.user_attrs])
        if len(begun):
            surrogate = surrogate.kriging_believer(begun)
        log_cost = self._log_cost(kernels, encoder, ended)
        known, beside = np.concatenate([inputs, begun]), encoder.encode([trial.params for trial in running])

        def acquisition(candidates: Floats) -> Floats:
            improvement = log_expected_improvement(*surrogate.predict(candidates), incumbent)
            return np.asarray(improvement - self._cost_exponent * log_cost(candidates))

        def without_copies(candidates: Floats) -> Floats:
            similarity = np.maximum(
                surrogate.highest_correlation(candidates, known),
                surrogate.highest_correlation_but_one(candidates, beside),
            )
            copies = similarity > _copy_correlation(surrogate)
            return np.where(copies, -COPY * (1 + similarity), acquisition(candidates))

        centres = inputs[np.argsort(-acquisition(inputs))[:BEST_CANDIDATES]]
        return encoder.decode(self._maximise(without_copies, encoder, centres))

    def _log_cost(
        self, kernels: KernelCache, encoder: Encoder, ended: Sequence[FrozenTrial]
    ) -> Callable[[Floats], Floats]:
        """A model of the logarithm of an epoch's seconds, up to a constant. [n, columns] -> [n]"""
        timed = [trial for trial in ended if trial.user_attrs.get(record.ESTIMATE, 0) > 0]
        if not self._cost_exponent or len(timed) < MIN_COST_TRIALS:
            return lambda candidates: np.zeros(len(candidates))
        inputs = encoder.encode([trial.params for trial in timed])
        log_seconds = np.log([trial.user_attrs[record.ESTIMATE] for trial in timed])
        spread = float(log_seconds.std()) + 1e-9
        targets = (log_seconds - log_seconds.mean()) / spread
        model = kernels.gaussian_process(
            COST_KERNEL, COST_NOISE_PRIOR, inputs, targets, np.zeros(len(timed)), encoder
        )
        return lambda candidates: spread * model.mean(candidates)

    def _maximise(self, acquisition: Callable[[Floats], Floats], encoder: Encoder, centres: Floats) -> Floats:
        """The configuration with the highest acquisition. [columns]

        Candidates are random configurations and neighbours of `centres`; then, round after round, nearer
        neighbours of the best candidates.
        """
        candidates = encoder.sample(self._rng, RANDOM_CANDIDATES)
        values, distance = acquisition(candidates), FIRST_DISTANCE
        for _ in range(ROUNDS):
            neighbours = encoder.neighbours(self._rng, centres, NEIGHBOURS, distance)
            candidates = np.concatenate([candidates, neighbours])
            values = np.concatenate([values, acquisition(neighbours)])
            centres, distance = candidates[np.argsort(-values)[:BEST_CANDIDATES]], distance / 2
        return np.asarray(candidates[np.argmax(values)])


def _score(trial: FrozenTrial) -> float:
    """The score of an ended trial, or the predicted one of a running trial."""
    return float(trial.values[0] if trial.state == TrialState.COMPLETE else trial.user_attrs[PREDICTED])


def _copy_correlation(surrogate: GaussianProcess) -> float:
    """From which correlation on two configurations are near copies.

    The expected squared difference of their function values is then the share COPY_NOISE of the noise
    variance of one training. However strong the noise, COPY_FROM is the limit.
    """
    return max(COPY_FROM, 1 - COPY_NOISE * surrogate.noise_ratio / 2)


@cache
def _thread_pools() -> threadpoolctl.ThreadpoolController:
    from scipy import linalg, optimize, special  # noqa: F401  their threads are limited, too

    return threadpoolctl.ThreadpoolController()
