"""The kernel hyperparameters of the surrogate models, kept in the study and refitted as it grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search.samplers.encoding import Encoder, Floats
from search.samplers.gp import GaussianProcess, draw_hyperparameters, fit_hyperparameters

#: System attributes of a trial: the kernel hyperparameters fitted for its proposal (the most likely ones,
#: then draws), and its number.
SCORE_KERNEL, COST_KERNEL = "gaussian:scores", "gaussian:seconds"
#: Refit the kernel hyperparameters once the trial count has grown by this factor.
REFIT_GROWTH = 1.1


class KernelCache:
    """The kernel hyperparameters that a study holds, as seen by the proposal of one more trial.

    Args:
        study: stores the hyperparameters, with the trials that they were fitted for.
        trial: the trial to propose.
        others: the trials before it that the sampler sees.
        rng: of the draws from the hyperparameters' posterior density.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        others: Sequence[FrozenTrial],
        rng: np.random.Generator,
    ) -> None:
        self._study, self._trial, self._others, self._rng = study, trial, others, rng

    def hyperparameters(
        self,
        key: str,
        noise_prior: tuple[float, float],
        inputs: Floats,
        targets: Floats,
        extra_variance: Floats,
        encoder: Encoder,
        draws: int = 0,
    ) -> Floats:
        """The latest under `key`, refitted where the study has grown since. [1 + draws, p + 2]

        The first row are the most likely ones, the others are drawn from their posterior density.
        """
        shape, columns = (1 + draws, len(encoder) + 2), encoder.column_parameter
        known, number = self._latest(key, shape)
        if known is None or self._trial.number >= REFIT_GROWTH * number:
            start = None if known is None else known[0]
            best = fit_hyperparameters(
                inputs, targets, extra_variance, columns, noise_prior=noise_prior, start=start
            )
            process = GaussianProcess(inputs, targets, extra_variance, columns, best)
            drawn = draw_hyperparameters(process, noise_prior, self._rng, draws)
            # Rounded, as they are stored: a resumed study computes with the same numbers.
            known = np.round([best, *drawn], 4)
            entry = [*known.ravel().tolist(), self._trial.number]
            self._study._storage.set_trial_system_attr(self._trial._trial_id, key, entry)
        return known

    def _latest(self, key: str, shape: tuple[int, int]) -> tuple[Floats | None, int]:
        """The latest hyperparameters under `key` that have this shape, and the number of their trial."""
        for trial in reversed(self._others):
            if len(entry := trial.system_attrs.get(key, ())) == shape[0] * shape[1] + 1:
                return np.array(entry[:-1], dtype=np.float64).reshape(shape), int(entry[-1])
        return None, 0
