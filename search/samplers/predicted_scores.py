"""The predicted ends of a study's trials: what samplers propose by and what the scheduler stops by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from search.curves.model import LearningCurve, PredictedScore, predict_ends
from search.curves.progress import Pace
from search.record import record
from search.samplers.encoding import Encoder
from search.samplers.parameter_groups import Distributions

#: Complete trials from whose curves the others' ends are predicted, at most: the latest ones.
MAX_COMPLETE = 100


def predicted_scores(
    trials: Sequence[FrozenTrial], latest: Mapping[int, Mapping[int, float]] | None = None
) -> dict[int, PredictedScore]:
    """Trial number -> score of its whole training, of the `trials` that have a score.

    That of a complete trial is measured. That of any other one, stopped or running, is predicted from the
    curves of all `trials` together.

    Args:
        trials: as the record has them.
        latest: trial number -> epoch -> best score so far, where the record does not have it yet.
    """
    latest = latest or {}
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    scores = {trial.number: PredictedScore(trial.values[0]) for trial in complete}
    others = [trial for trial in trials if trial.number not in scores]
    reached = {
        trial.number: {**trial.intermediate_values, **latest.get(trial.number, {})} for trial in others
    }
    others = [trial for trial in others if reached[trial.number]]
    if not others:
        return scores
    learned_from = [trial for trial in complete[-MAX_COMPLETE:] if trial.intermediate_values]
    reached |= {trial.number: trial.intermediate_values for trial in learned_from}
    curves = _learning_curves([*others, *learned_from], reached)
    ends = predict_ends(curves)[: len(others)]
    return scores | {trial.number: end for trial, end in zip(others, ends, strict=True)}


def _learning_curves(
    trials: Sequence[FrozenTrial], reached: Mapping[int, Mapping[int, float]]
) -> list[LearningCurve]:
    """The trials as the model of learning curves takes them."""
    distributions: Distributions = {}
    for trial in trials:
        distributions |= {name: entry for name, entry in trial.distributions.items() if not entry.single()}
    encoder = Encoder(distributions, {})
    inputs = encoder.encode([trial.params for trial in trials])
    paces = _paces(trials, reached)
    curves = []
    for trial, row, pace in zip(trials, inputs, paces, strict=True):
        epochs = sorted(reached[trial.number])
        best = np.maximum.accumulate([reached[trial.number][epoch] for epoch in epochs])
        progress = pace.progress([*epochs, max(pace.epochs, epochs[-1])])
        curves.append(LearningCurve(row, progress[:-1], best, float(progress[-1])))
    return curves


def _paces(trials: Sequence[FrozenTrial], reached: Mapping[int, Mapping[int, float]]) -> list[Pace]:
    """The pace of each trial; where the record of one has none, all are equal, and end at the last epoch."""
    entries = [trial.user_attrs.get(record.PACE) for trial in trials]
    if all(entries):
        return [Pace.from_json(entry) for entry in entries if entry]
    last = max(max(reached[trial.number]) for trial in trials)
    return [Pace(last, 1, 1.0, 0.0)] * len(trials)
