"""Bayesian optimisation of the whole configuration: the proposal that promises most for its cost.

Optuna's GPSampler models the parameters that every trial has and needs a second for a proposal after a
hundred trials. This one models all of them, conditional ones too, in some hundredths of a second, and knows
more of a study:

- the score of a trial that was stopped is a prediction with a variance of its own (imputed_scores.py);
- how bad bad trials are must not rule the lengths: below the median scores count by their logarithm;
- log expected improvement (Ament et al., NeurIPS 2023) over the best posterior mean, for scores are noisy,
  per second of training (Snoek et al., NeurIPS 2012), by a second process of the logarithm of an epoch's time
  as estimated (measured, it would differ from run to run, and with it the proposals);
- trials that run count as if they would end as expected, so that parallel proposals differ (Ginsbourger et
  al., 2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import optuna
import threadpoolctl
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.record import record
from search.samplers.encoding import Conditions, Floats, Places
from search.samplers.gp import NOISY, QUIET, Process, fitted_kernel
from search.samplers.grouped import PartSampler
from search.samplers.imputed_scores import UNCERTAIN

#: Where a trial keeps the kernels that were fitted for it, each with the trial's number at its end.
SCORES, SECONDS = "gaussian:scores", "gaussian:seconds"
#: A kernel is fitted anew when the study has so many times as many trials.
GROWTH = 1.1
#: Fewer trials say nothing of costs.
TIMED = 5
#: Candidates: random ones; neighbours of each of the best; rounds of ever nearer ones, from a distance on.
RANDOM, NEIGHBOURS, BEST, ROUNDS, FAR = 1000, 60, 5, 4, 0.2


class GaussianSampler(PartSampler):
    """Proposes where Gaussian processes of scores and costs expect the largest improvement per second.

    Args:
        seed: of its candidates.
        startup: so many ended trials come first, proposed by others.
        cost: the power of an epoch's seconds by which an improvement is divided; 0: time does not matter.
        conditions: of the parameters; see `Places`.
    """

    def __init__(
        self, seed: int, startup: int = 7, cost: float = 1.0, conditions: Conditions | None = None
    ) -> None:
        self._chance, self._conditions = np.random.default_rng(seed), conditions or {}
        self._startup, self._cost = startup, cost

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value for every parameter; nothing before `startup` trials have ended."""
        trials = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        ended = [one for one in trials if one.state == TrialState.COMPLETE]
        if len(ended) < self._startup or not search_space:
            return {}
        # Beside trials on all cores, more threads would wait for each other.
        with _libraries().limit(limits=1):
            return self._proposal(study, trial, trials, ended, Places(search_space, self._conditions))

    def _proposal(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        trials: Sequence[FrozenTrial],
        ended: Sequence[FrozenTrial],
        places: Places,
    ) -> dict[str, Any]:
        inputs = places.of([one.params for one in ended])
        scores, steepness = drawn_together(np.array([one.values[0] for one in ended]))
        extra = steepness**2 * [one.user_attrs.get(UNCERTAIN, 0.0) for one in ended]
        kernels = _Kernels(study, trial, trials)
        process = kernels.process(SCORES, NOISY, inputs, scores, extra, places)
        best = float(process.mean(inputs).max())
        running = places.of([one.params for one in trials if one.state == TrialState.RUNNING and one.params])
        if len(running):
            process = process.believing(running)
        cost = self._costs(kernels, places, ended, inputs)

        def gain(candidates: Floats) -> Floats:
            return np.asarray(
                log_improvement(*process.predict(candidates), best) - self._cost * cost(candidates)
            )

        return places.values(self._highest(gain, places, inputs, running))

    def _costs(
        self, kernels: _Kernels, places: Places, ended: Sequence[FrozenTrial], inputs: Floats
    ) -> Callable[[Floats], Floats]:
        """Places -> the logarithm of an epoch's seconds, up to a constant."""
        known = [row for row, one in enumerate(ended) if one.user_attrs.get(record.ESTIMATE, 0) > 0]
        if not self._cost or len(known) < TIMED:
            return lambda candidates: np.zeros(len(candidates))
        logs = np.log([ended[row].user_attrs[record.ESTIMATE] for row in known])
        spread = float(logs.std()) + 1e-9
        targets, extra = (logs - logs.mean()) / spread, np.zeros(len(known))
        process = kernels.process(SECONDS, QUIET, inputs[known], targets, extra, places)
        return lambda candidates: spread * process.mean(candidates)

    def _highest(
        self, gain: Callable[[Floats], Floats], places: Places, ended: Floats, running: Floats
    ) -> Floats:
        """The new place with the highest gain: among random ones and neighbours of the best that have ended,
        then of the best candidates, nearer in every round. [columns]
        """
        found = places.draw(self._chance, RANDOM)
        gains, distance = gain(found), FAR
        around = ended[np.argsort(-gain(ended))[:BEST]]
        for _ in range(ROUNDS + 1):
            found = np.concatenate([found, places.near(self._chance, around, NEIGHBOURS, distance)])
            gains = np.concatenate([gains, gain(found[len(gains) :])])
            around, distance = found[np.argsort(-gains)[:BEST]], distance / 2
        known = {_key(place) for place in (*ended, *running)}
        order = np.argsort(-gains)
        best = next((row for row in order if _key(found[row]) not in known), order[0])
        return np.asarray(found[best])


@cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    from scipy import linalg, optimize, special  # noqa: F401  their threads are limited, too

    return threadpoolctl.ThreadpoolController()


def _key(place: Floats) -> bytes:
    return (np.round(place, 9) + 0.0).tobytes()


class _Kernels:
    """The kernels that a study's trials keep, for the proposal of one more."""

    def __init__(self, study: optuna.Study, trial: FrozenTrial, others: Sequence[FrozenTrial]) -> None:
        self._study, self._trial, self._others = study, trial, others

    def process(
        self,
        key: str,
        noise: tuple[float, float],
        inputs: Floats,
        targets: Floats,
        extra: Floats,
        places: Places,
    ) -> Process:
        """A process with the latest kernel under `key`, or, where the study has grown, with a new one."""
        kernel, then = self._latest(key, len(places) + 2)
        if kernel is None or self._trial.number >= GROWTH * then:
            kernel = fitted_kernel(inputs, targets, extra, places.parameter, noise=noise, begin=kernel)
            kernel = np.round(kernel, 4)  # what the record keeps is what is used
            kept = [*kernel.tolist(), self._trial.number]
            self._study._storage.set_trial_system_attr(self._trial._trial_id, key, kept)
        return Process(inputs, targets, extra, places.parameter, kernel)

    def _latest(self, key: str, size: int) -> tuple[Floats | None, int]:
        for other in reversed(self._others):
            if len(kept := other.system_attrs.get(key, ())) == size + 1:
                return np.array(kept[:-1], dtype=np.float64), int(kept[-1])
        return None, 0


def drawn_together(scores: Floats) -> tuple[Floats, Floats]:
    """Scores from their median, in units of the better half's spread; below, by their logarithm.

    Also the derivative. [n] -> [n], [n]
    """
    apart = scores - np.median(scores)
    better = apart[apart > 0]
    unit = float(np.sqrt(np.mean(better**2))) if len(better) else 1.0
    below = np.maximum(-apart / unit, 0.0)
    return np.where(apart < 0, -np.log1p(below), apart / unit), 1 / (unit * (1 + below))


def log_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """The logarithm of the expected improvement over `best`, exact far below it, too. [n], [n] -> [n]

    Source: Ament et al., Unexpected Improvements to Expected Improvement, NeurIPS 2023, eq. 9.
    """
    from scipy.special import erfcx, ndtr

    z = (mean - best) / deviation
    near, far = np.maximum(z, -1.0), np.minimum(z, -1.0)
    density = np.exp(-(near**2) / 2) / math.sqrt(2 * math.pi)
    # z Phi(z) / phi(z) = -|z| sqrt(pi/2) erfcx(|z| / sqrt 2), which tends to -1 and is rounded near it.
    share = np.minimum(-far * math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2)), 1 - 1e-15)
    below = -(far**2) / 2 - math.log(2 * math.pi) / 2 + np.log1p(-share)
    found = np.where(z > -1.0, np.log(density + near * ndtr(near)), below) + np.log(deviation)
    return np.asarray(found)
