"""Studies whose true scores are known: search, finals and test, simulated without a training.

score of a training = worth of its configuration + luck of the dialogues it is scored on + how well the
configuration suits these dialogues + luck of the seed. All are normal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rigsl.config import RIGSLConfig
from search.confirm.final_record import FinalRecord, read_final_record, write_final_record
from search.confirm.race import HALVING, MIN_CONTENDERS, Finalist, upper_bound
from search.confirm.trainings import Block
from search.trust.evidence import DialogueNoise, Evidence, FinalistEvidence
from search.trust.trust_record import TrustRecord

CONFIG = RIGSLConfig()
TRAIN, DEV, TEST = 1038, 114, 280  #: dialogues


@dataclass(frozen=True)
class World:
    """Standard deviations in a simulated world; the defaults are those measured on MELD (fractions)."""

    between: float = 0.006  #: of the configurations' worth
    seed: float = 0.007  #: of a training on 280 dialogues
    suits: float = 0.004  #: of a configuration on 280 dialogues
    dialogue: float = 0.011  #: of any score on 280 dialogues
    trials: int = 60
    finalists: int = 8
    blocks: int = 3
    folds: int = 3  #: 0: the finals are on dev
    test_seeds: int = 5
    gain: float = 0.012  #: of a training on all of train against one without a fold

    def noise(self, deviation: float, dialogues: float) -> float:
        """The deviation on so many dialogues."""
        return deviation * math.sqrt(TEST / dialogues)


def simulate(world: World, seed: int) -> tuple[Evidence, float]:
    """What a study knows before test is opened, and the mean that its winner then has on test."""
    rng = np.random.default_rng(seed)
    worth = 0.58 + world.between * rng.standard_normal(world.trials)
    on_dev = world.noise(world.dialogue, DEV) * rng.standard_normal()
    suits_dev = world.noise(world.suits, DEV) * rng.standard_normal(world.trials)

    def dev(trial: int, count: int, gain: float = 0.0) -> np.ndarray:
        return worth[trial] + on_dev + suits_dev[trial] - gain + world.seed * rng.standard_normal(count)

    search = np.array([dev(trial, 1)[0] for trial in range(world.trials)])
    best = np.argsort(-search)[: world.finalists]
    left_out: dict[int, list[float]] = {trial: [] for trial in best}
    fold_size = TRAIN / max(world.folds, 1)
    on_fold = world.noise(world.dialogue, fold_size) * rng.standard_normal(max(world.folds, 1))

    def score(trial: int, block: Block) -> float:
        if block.fold is None:
            return float(dev(trial, 1)[0])
        left_out[trial].append(float(dev(trial, 1, world.gain)[0]))
        own = world.noise(world.suits, fold_size) * rng.standard_normal()
        return float(
            worth[trial] - world.gain + on_fold[block.fold] + own + world.seed * rng.standard_normal()
        )

    blocks = [
        Block(number, number % world.folds, world.folds) if world.folds else Block(number)
        for number in range(world.blocks)
    ]
    finalists = [Finalist(int(trial), CONFIG, {}, float(search[trial]), True) for trial in best]
    ranked = run_race(finalists, blocks, score)
    winner = ranked[0].trial
    tests = tuple(dev(winner, world.test_seeds).tolist())
    on_test = world.dialogue * rng.standard_normal() + world.suits * rng.standard_normal()
    tested = worth[winner] + on_test + world.seed * rng.standard_normal(world.test_seeds).mean()
    scored = TRAIN if world.folds else DEV
    evidence = Evidence(
        finalists=tuple(
            FinalistEvidence(one.trial, one.search_score, dict(one.scores), not one.eliminated)
            for one in ranked
        ),
        winner=winner,
        folds=bool(world.folds),
        tests=tests,
        left_out=tuple(left_out[winner]),
        repeated=(tests, *map(tuple, left_out.values())) if world.folds else (tests,),
        dialogues=DialogueNoise(world.noise(world.dialogue, scored), world.dialogue),
        suits_dev=None if world.folds else world.noise(world.suits, DEV),
    )
    return evidence, float(tested)


def run_race(
    finalists: Sequence[Finalist], blocks: Sequence[Block], score: Callable[[int, Block], float]
) -> list[Finalist]:
    """The race block by block, without its jobs; the finalists, the winner first."""
    for number, block in enumerate(blocks):
        remaining = [one for one in finalists if not one.stopped]
        for one in remaining:
            one.scores[block.seed] = score(one.trial, block)
        remaining.sort(key=lambda one: -one.mean)
        if number + 1 == HALVING and len(finalists) > MIN_CONTENDERS:
            for one in remaining[max(MIN_CONTENDERS, math.ceil(len(finalists) / 2)) :]:
                one.stopped = "halving"
        for one in remaining[1:] if number else ():
            bound = upper_bound(one, remaining[0], finalists)
            if bound is not None and bound < 0:
                one.stopped = "behind"
    return sorted(finalists, key=lambda one: (bool(one.stopped), -one.mean))


def add_trust(folder: Path, record: TrustRecord) -> FinalRecord:
    """Put `record` into the ``final.json`` of a run folder, as the final stage does."""
    final = dataclasses.replace(read_final_record(folder), trust=record)
    write_final_record(folder, final)
    return final
