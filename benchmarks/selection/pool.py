"""The configurations: the start points, random ones, and those that the default sampler proposes.

A proposal sees the dev scores of all configurations of earlier rounds, as a search does.
"""

from __future__ import annotations

from typing import Any

import optuna

from benchmarks.selection.quarters import WHOLE
from benchmarks.selection.tables import f1_of
from benchmarks.selection.trainings import SelectionTraining, params_of, read, space
from search.samplers.gp_sampler import make_gp

#: Random configurations after the start points, and proposals of one round.
RANDOM, ROUND = 40, 8
SEED = 17


def random_configurations() -> list[dict[str, Any]]:
    """The start points and RANDOM random configurations."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    return [*space().starts, *(space().suggest(study.ask()) for _ in range(RANDOM))]


def proposals(known: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The next ROUND proposals, when the configurations before `number` are trained."""
    study = optuna.create_study(direction="maximize")
    own = space()
    for index, params in enumerate(known):
        study.enqueue_trial(params)
        trial = study.ask()
        own.suggest(trial)
        study.tell(trial, dev_score(index))
    found = []
    for offset in range(ROUND):
        study.sampler = make_gp(own, SEED, number + offset)
        found.append(own.suggest(study.ask()))
    return found


def dev_score(number: int) -> float:
    """The best dev score of a configuration that was trained on all of train with seed 0."""
    return float(max(dev_scores(number), default=0.0))


def dev_scores(number: int) -> list[float]:
    """Weighted F1 on dev after every epoch."""
    predictions = read(SelectionTraining(number, {}, WHOLE, 0).path)
    return [f1_of(epoch, predictions.rows) for epoch in predictions.log_prob]


def known_configurations() -> list[dict[str, Any]]:
    """The configurations that are trained on all of train, by their numbers."""
    found: list[dict[str, Any]] = []
    while (params := params_of(len(found))) is not None:
        found.append(params)
    return found
