"""What the final stage of a study knows before test is opened: scores, and the noise of their dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.trust.priors import PriorShift


@dataclass(frozen=True)
class FinalistEvidence:
    """A finalist that has a score in the finals."""

    trial: int
    search_score: float
    scores: Mapping[int, float]  #: number of a block -> score there
    contender: bool = True  #: whether it was trained to the end of the race


@dataclass(frozen=True)
class DialogueNoise:
    """Standard errors of a training's weighted F1 over dialogues; None: too few dialogues."""

    scored: float | None  #: of what the winner's mean is measured on: all folds, or dev
    test: float | None  #: of as many dialogues as test has


@dataclass(frozen=True)
class Evidence:
    """All that is known; scores are weighted F1 as fractions."""

    finalists: tuple[FinalistEvidence, ...]  #: the winner first; empty: there was no race
    winner: int | None  #: its trial
    folds: bool  #: whether the finals are scored on held-out folds of train; else on dev
    tests: tuple[float, ...]  #: the winner's trainings that will be tested: scores on dev
    baseline_tests: tuple[float, ...] = ()  #: the same of the baseline; empty: there is none
    left_out: tuple[float, ...] = ()  #: the winner's trainings without a fold: scores on dev
    #: scores on dev of trainings that differ in nothing but the seed (and the fold), in groups
    repeated: tuple[tuple[float, ...], ...] = ()
    dialogues: DialogueNoise = field(default_factory=lambda: DialogueNoise(None, None))
    #: standard deviation of how well a configuration suits the dialogues of dev, beyond what any gains there
    suits_dev: float | None = None
    searched_on_dev: bool = (
        True  #: whether search scores are on dev alone, as those of the finals without folds
    )
    epoch_bias: float | None = None  #: how far the best epoch on dev is above its neighbours, in the mean
    prior_shift: PriorShift | None = None
    #: how the winner's score changes if classes were as frequent as in train (measured on dev), or as in dev
    #: (measured on folds)
    prior_effect: float | None = None
