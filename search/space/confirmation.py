"""The final stage of a study: how many finalists, seeds and tests confirm its winner."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rigsl.errors import UserError
from rigsl.training.teacher import HIGHEST_TEMPERATURE as HIGHEST
from rigsl.training.teacher import LOWEST_TEMPERATURE as LOWEST
from rigsl.wording import counted

#: Folds of train, unless a space or the user says otherwise.
FOLDS = 3
PROTOCOLS = ("validation", "paper")
#: What the trials of a search are scored on: dev alone, or dev and a fold of train that they leave out.
VALIDATIONS = ("dev", "folds")


@dataclass(frozen=True)
class FinalOptions:
    """The options of the final stage, which follows the search.

    Raises:
        UserError: a value that is not a whole number, or below its minimum.
    """

    finalists: int = 8  #: best configurations that are trained again; 0: the best trial wins as it is
    finalist_seeds: int = 3  #: trainings of each finalist, or of those that go on
    #: Folds of train: finalists leave them out in turn and are scored on them; 0: they are scored on dev;
    #: None: FOLDS of them where the corpus allows it, else 0 (see `rigsl.data.folds`).
    folds: int | None = None
    #: Share of the teaching in the loss of the taught models, which learn the finalists' out-of-fold average
    #: beside the labels; 0: nothing is taught.
    teacher_weight: float = 0.6
    teacher_temperature: float = 1.0  #: at which the probabilities are taught
    #: Trainings of winner and of baseline that are tested; 0: only the exported checkpoint is.
    test_seeds: int = 5
    protocol: str = "validation"  #: "paper": also the best test epoch, as in most published numbers
    #: Whether the path from the baseline to the winner is trained, one change at a time.
    explain: bool = False

    def __post_init__(self) -> None:
        for name, minimum in (("finalists", 0), ("finalist_seeds", 1), ("folds", 0), ("test_seeds", 0)):
            value = getattr(self, name)
            if value is None and name == "folds":
                continue
            if type(value) is not int or value < minimum:
                raise UserError(f"{name}: {value!r} is not a whole number from {minimum} up")
        for name, low, high in (("teacher_weight", 0, 1), ("teacher_temperature", LOWEST, HIGHEST)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not low <= value <= high:
                raise UserError(f"{name}: {value!r} is not a number from {low:g} to {high:g}")
        if self.folds == 1:
            raise UserError("folds: 1 is not possible; give 2 or more, or 0 for scores on dev")
        if type(self.explain) is not bool:
            raise UserError(f"explain: {self.explain!r} is neither true nor false")
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol: {self.protocol!r} is not one of {', '.join(PROTOCOLS)}")

    def override(self, values: Mapping[str, Any]) -> FinalOptions:
        """These options with `values` in place of their own; None leaves an option as it is."""
        changes = {name: value for name, value in values.items() if value is not None}
        return dataclasses.replace(self, **changes)

    def describe(self) -> str:
        """In words, for the plan."""
        fresh, tests = counted(self.finalist_seeds, "seed"), counted(self.test_seeds, "seed")
        scored = f", scored on {self.folds} folds of train" if self.folds else ""
        if self.finalists > 1:
            finalists = f"the best {self.finalists} with {fresh} each{scored}"
        else:
            finalists = f"the best with {fresh}{scored}" if self.finalists else "none"
        tested = f"{tests} each of winner and baseline" if self.test_seeds else "one checkpoint"
        explained = "; the winner explained" if self.explain else ""
        paper = "; and the best test epoch (optimistic)" if self.protocol == "paper" else ""
        return f"finalists: {finalists}; tested once: {tested}{paper}{explained}"


NAMES = tuple(spec.name for spec in dataclasses.fields(FinalOptions))


def read_final(table: Any, where: str) -> FinalOptions:
    """The options in a TOML table.

    Raises:
        UserError: an unknown key or a bad value; the sentence starts with `where`.
    """
    if not isinstance(table, dict):
        raise UserError(f"{where}: is not a table")
    if unknown := set(table) - set(NAMES):
        raise UserError(f"{where} {min(unknown)}: unknown key; the keys are {', '.join(NAMES)}")
    try:
        return FinalOptions(**table)
    except UserError as error:
        raise UserError(f"{where} {error}") from None
