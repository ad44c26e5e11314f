"""How a study is confirmed: how many finalists, seeds and tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rigsl.errors import UserError

PROTOCOLS = ("validation", "paper")


@dataclass(frozen=True)
class FinalOptions:
    """What follows the search.

    Raises:
        UserError: a number that is none, or below its least value.
    """

    finalists: int = 5  #: configurations that run again; 0: the search's best is taken at its word
    finalist_seeds: int = 3  #: trainings of each
    test_seeds: int = (
        5  #: trainings of winner and baseline that are tested; 0: the one checkpoint that is kept
    )
    protocol: str = "validation"  #: "paper": the best test epoch, too, as most published numbers have it

    def __post_init__(self) -> None:
        for name, least in (("finalists", 0), ("finalist_seeds", 1), ("test_seeds", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name}: {value!r} is not a whole number from {least} up")
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol: {self.protocol!r} is not one of {', '.join(PROTOCOLS)}")

    def override(self, given: Mapping[str, Any]) -> FinalOptions:
        """These with the values of `given` that are not None in place of their own."""
        changes = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(self, **changes)

    def describe(self) -> str:
        """In words, for the plan."""
        best = (
            f"the best {self.finalists} with {self.finalist_seeds} seeds each" if self.finalists else "none"
        )
        tested = (
            f"{self.test_seeds} seeds each of winner and baseline" if self.test_seeds else "one checkpoint"
        )
        paper = "; and the best test epoch (optimistic)" if self.protocol == "paper" else ""
        return f"finalists: {best}; tested once: {tested}{paper}"

    def finalist_numbers(self, seed: int) -> list[int]:
        """Seeds that no trial of a study with `seed` trains with."""
        return [1000 * (seed + 1) + number for number in range(1, self.finalist_seeds + 1)]

    def test_numbers(self, seed: int) -> list[int]:
        """Seeds that no trial and no finalist trains with."""
        return [1000 * (seed + 1) + 500 + number for number in range(1, self.test_seeds + 1)]


NAMES = tuple(spec.name for spec in dataclasses.fields(FinalOptions))


def read_final(table: Any, where: str) -> FinalOptions:
    """The options that a TOML table describes.

    Raises:
        UserError: an unknown key or a bad value; the sentence begins with `where`.
    """
    if not isinstance(table, dict):
        raise UserError(f"{where}: is not a table")
    if unknown := set(table) - set(NAMES):
        raise UserError(f"{where} {min(unknown)}: is not a key here; they are {', '.join(NAMES)}")
    try:
        return FinalOptions(**table)
    except UserError as error:
        raise UserError(f"{where} {error}") from None
