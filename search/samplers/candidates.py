"""The search for the configuration with the highest acquisition."""

from __future__ import annotations

import numpy as np

from search.samplers.acquisition import Acquisition
from search.samplers.encoding import Encoder, Floats

#: First random candidates, then, in each round, so many neighbours of each of the best ones, at half the
#: distance of the round before.
RANDOM_CANDIDATES, NEIGHBOURS, BEST_CANDIDATES, ROUNDS, FIRST_DISTANCE = 1000, 60, 5, 5, 0.2
#: Candidates drawn from the priors, where there are some.
PRIOR_CANDIDATES = 500
#: Of the best candidates, so many climb along the gradient, with so many steps at most.
CLIMBERS, CLIMBING_STEPS = 3, 20


def best_candidate(
    acquisition: Acquisition,
    encoder: Encoder,
    rng: np.random.Generator,
    ended: Floats,
    running: Floats,
    climbers: int = CLIMBERS,
) -> Floats:
    """The configuration with the highest acquisition that has neither been tried nor runs. [columns]

    Candidates are random configurations, draws from the priors and neighbours of the best ended ones; then,
    round after round, nearer neighbours of the best candidates. At last, the continuous parameters of the
    `climbers` best ones follow the gradient of the acquisition.
    """
    candidates = encoder.sample(rng, RANDOM_CANDIDATES)
    if acquisition.priors is not None:
        candidates = np.concatenate([candidates, acquisition.priors.sample(rng, PRIOR_CANDIDATES)])
    values, distance = acquisition(candidates), FIRST_DISTANCE
    centres = ended[np.argsort(-acquisition(ended))[:BEST_CANDIDATES]]
    for _ in range(ROUNDS):
        neighbours = encoder.neighbours(rng, centres, NEIGHBOURS, distance)
        candidates = np.concatenate([candidates, neighbours])
        values = np.concatenate([values, acquisition(neighbours)])
        centres, distance = candidates[np.argsort(-values)[:BEST_CANDIDATES]], distance / 2
    if climbers and encoder.continuous.any():
        climbed = np.stack([_climb(acquisition, encoder, centre) for centre in centres[:climbers]])
        candidates = np.concatenate([candidates, climbed])
        values = np.concatenate([values, acquisition(climbed)])
    tried = {_row_key(row) for row in (*ended, *running)}
    order = np.argsort(-values)
    best = next((index for index in order if _row_key(candidates[index]) not in tried), order[0])
    return np.asarray(candidates[best])


def _climb(acquisition: Acquisition, encoder: Encoder, start: Floats) -> Floats:
    """The local maximum of the acquisition over the continuous parameters, near `start`. [columns]"""
    from scipy.optimize import minimize

    columns, at = encoder.continuous, start.copy()

    def negative(values: Floats) -> tuple[float, Floats]:
        at[columns] = values
        value, gradient = acquisition.with_gradient(at)
        return -value, -gradient[columns]

    bounds = [(0.0, 1.0)] * int(columns.sum())
    options = {"maxiter": CLIMBING_STEPS}
    result = minimize(negative, start[columns], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return encoder.with_continuous(start, result.x)


def _row_key(row: Floats) -> bytes:
    """Equal for equal configurations, whatever the rounding errors and the sign of zero."""
    return (np.round(row, 9) + 0.0).tobytes()
