"""The kernel hyperparameters of the surrogate models, kept in the study and refitted as it grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search.samplers.encoding import Encoder, Floats
from search.samplers.gp import GaussianProcess, fit_hyperparameters

#: System attributes of a trial: the kernel hyperparameters fitted for its proposal, and then its number.
SCORE_KERNEL, COST_KERNEL = "gaussian:scores", "gaussian:seconds"
#: Refit the kernel hyperparameters once the trial count has grown by this factor.
REFIT_GROWTH = 1.1


class KernelCache:
    """The kernel hyperparameters that a study holds, as seen by the proposal of one more trial.

    Args:
        study: stores the hyperparameters, with the trials that they were fitted for.
        trial: the trial to propose.
        others: the trials before it that the sampler sees.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial, others: Sequence[FrozenTrial]) -> None:
        self._study, self._trial, self._others = study, trial, others

    def gaussian_process(
        self,
        key: str,
        noise_prior: tuple[float, float],
        inputs: Floats,
        targets: Floats,
        extra_variance: Floats,
        encoder: Encoder,
    ) -> GaussianProcess:
        """A process with the latest hyperparameters under `key`, refitted where the study has grown since."""
        hyperparameters, number = self._latest(key, len(encoder) + 2)
        if hyperparameters is None or self._trial.number >= REFIT_GROWTH * number:
            hyperparameters = fit_hyperparameters(
                inputs,
                targets,
                extra_variance,
                encoder.column_parameter,
                noise_prior=noise_prior,
                start=hyperparameters,
            )
            # Rounded, as they are stored: a resumed study computes with the same numbers.
            hyperparameters = np.round(hyperparameters, 4)
            entry = [*hyperparameters.tolist(), self._trial.number]
            self._study._storage.set_trial_system_attr(self._trial._trial_id, key, entry)
        return GaussianProcess(inputs, targets, extra_variance, encoder.column_parameter, hyperparameters)

    def _latest(self, key: str, size: int) -> tuple[Floats | None, int]:
        """The latest `size` hyperparameters under `key`, and the number of the trial they were fitted for."""
        for trial in reversed(self._others):
            if len(entry := trial.system_attrs.get(key, ())) == size + 1:
                return np.array(entry[:-1], dtype=np.float64), int(entry[-1])
        return None, 0
