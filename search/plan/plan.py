"""The plan of a study: all its settings, checked before anything is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from rigsl.data.corpus import Corpus
from rigsl.data.folds import train_folds
from rigsl.redaction import redacted
from search.resources.workers import Workers
from search.space.budget import Budget
from search.space.confirmation import FinalOptions
from search.space.final_seeds import HASHED, FinalSeeds, final_seeds
from search.space.schedule import Schedule
from search.space.space import Space


@dataclass(frozen=True)
class Plan:
    """A study that is ready to run."""

    name: str
    folder: Path  #: runs/STUDY, absolute
    resumed: bool  #: whether the study exists already
    space: Space
    corpus: Corpus  #: with test labels; the search itself gets it without them
    features: str  #: "open" or "official"
    budget: Budget
    schedule: Schedule
    sampler: str
    seed: int
    epochs: int  #: maximum epochs of a trial
    workers: Workers
    tracking_uri: str
    force: bool = False  #: whether a precision is taken that the workers' devices are not made for
    precision_remark: str = ""  #: the precisions, and why some are left out; empty: fp32 only
    tracking_remark: str = ""  #: where that comes from, if it is neither an option nor the default
    ray_address: str | None = None
    storage: str | None = None  #: address of the record's database; None: a journal in the folder
    record: str = ""  #: the study's name in the storage, if it differs from `name`
    widened_from: str | None = None  #: its name there until this resume widens its space
    #: Folds of train, of which trials leave the first one out and are scored on it and on dev; 0: on dev.
    validation_folds: int = 0
    final: FinalOptions = field(default_factory=lambda: FinalOptions(folds=0))
    seed_derivation: str = HASHED  #: of the seeds of the final stage; see `final_seeds`
    start_from: Path | None = None  #: folder of the study for a warm start
    derived: tuple[str, ...] = ()  #: what a space is that was derived for the corpus, in lines

    @property
    def corpus_bytes(self) -> int:
        """Size of the features that all workers share."""
        return sum(array.nbytes for array in self.corpus.features.values())

    @property
    def final_seeds(self) -> FinalSeeds:
        """The training seeds of the final stage."""
        return final_seeds(self.seed, self.final, self.seed_derivation)

    @property
    def opens(self) -> str:
        """The study's name in the storage when it is opened, before its space is widened."""
        return self.widened_from or self.record or self.name

    @property
    def trials_folds(self) -> NDArray[np.int64] | None:
        """The fold of every dialogue, where trials leave one out. [n]"""
        return train_folds(self.corpus, self.validation_folds, self.seed) if self.validation_folds else None

    def options(self) -> dict[str, Any]:
        """The content of ``study.toml``: what a resume needs to continue with the same settings."""
        optional = {
            "storage": None if self.storage is None else redacted(self.storage),
            "start_from": None if self.start_from is None else str(self.start_from),
            "force": True if self.force else None,
        }
        limits = {name: value for name, value in dataclasses.asdict(self.budget).items() if value is not None}
        return {
            "study": self.name,
            "dataset": self.space.dataset,
            "features": self.features,
            "sampler": self.sampler,
            "scheduler": self.schedule.name,
            "seed": self.seed,
            "epochs": self.epochs,
            "validation_folds": self.validation_folds,
            "tracking_uri": redacted(self.tracking_uri),
            "corpus": self.corpus.content_hash(),
            "record": self.record or self.name,
            "budget": limits,
            "seed_derivation": self.seed_derivation,
            "final": dataclasses.asdict(self.final),
        } | {name: value for name, value in optional.items() if value is not None}

    def options_toml(self) -> str:
        """`options` as TOML."""
        return tomli_w.dumps(self.options())
