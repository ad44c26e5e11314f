"""Studies side by side (``--compare``): paired statistics where two were tested on the same utterances.

Elsewhere, across corpora or test splits, intervals stand side by side, and nothing is tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rigsl.config import FIELDS
from rigsl.errors import UserError
from rigsl.wording import DASH, p_value, percent, points
from search.confirm import summary
from search.confirm.evaluation import read_predictions
from search.confirm.predictions import SeedRuns, check_paired
from search.confirm.summary import PairedTests, TestScores
from search.record import record
from search.report.data import Material, read_material
from search.report.format import span, spread


@dataclass(frozen=True)
class Side:
    """A study in a comparison."""

    label: str  #: its name; with its folder's, where two have the same
    material: Material
    runs: SeedRuns | None  #: what its winner's trainings predict on test; None: not recorded

    @property
    def tested(self) -> TestScores | None:
        """The scores of its winner on test; None: it was not tested."""
        test = self.material.final.test
        return None if test is None else test.winner

    @property
    def backbone(self) -> str:
        """Of its winner."""
        final, winner = self.material.final.winner, self.material.winner
        searched = {} if winner is None else winner.params
        known = {**self.material.space.fixed, **searched, **({} if final is None else final.config)}
        return str(known.get("backbone", FIELDS["backbone"].default))


@dataclass(frozen=True)
class Pair:
    """Two studies: what is known of the difference of their winners, first less second."""

    first: Side
    second: Side
    difference: PairedTests | None  #: None: no paired test is possible
    why: str  #: there is none; or what else must be known of it

    @property
    def p(self) -> float | None:
        """Of the paired bootstrap."""
        found = None if self.difference is None else self.difference.bootstrap
        return None if found is None else float(found.p)


@dataclass(frozen=True)
class Comparison:
    """All studies, and every two of them."""

    sides: Sequence[Side]
    pairs: Sequence[Pair]

    @property
    def tests(self) -> int:
        """How many paired tests were made."""
        return sum(pair.p is not None for pair in self.pairs)

    def corrected(self, pair: Pair) -> float | None:
        """p of a pair, times the number of tests (Bonferroni)."""
        return None if pair.p is None else min(1.0, pair.p * self.tests)


def compared(folders: Sequence[Path]) -> Comparison:
    """Read the studies and compare every two of them.

    Raises:
        UserError: fewer than two studies, one of them twice, or a record that does not answer.
    """
    if len(folders) < 2:
        raise UserError("--compare: needs the names of two studies or more")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("--compare: the same study is named twice")
    names = [folder.name for folder in folders]
    sides = [
        _side(folder, folder.name if names.count(folder.name) == 1 else f"{folder.parent.name}/{folder.name}")
        for folder in folders
    ]
    return Comparison(sides, [_pair(first, second) for first, second in itertools.combinations(sides, 2)])


def _side(folder: Path, label: str) -> Side:
    return Side(label, read_material(folder), read_predictions(folder).get("winner"))


def _pair(first: Side, second: Side) -> Pair:
    corpora = [side.material.corpus for side in (first, second)]
    datasets = {str(side.material.options["dataset"]).upper() for side in (first, second)}
    if len(datasets) > 1:
        return Pair(first, second, None, f"other data: {corpora[0]} and {corpora[1]}")
    if first.runs is None or second.runs is None:
        lacking = [side.label for side in (first, second) if side.runs is None]
        return Pair(first, second, None, f"no recorded predictions of {' and '.join(lacking)}")
    try:
        check_paired(first.runs, second.runs)
    except ValueError:
        return Pair(first, second, None, "not tested on the same utterances")
    same = first.material.options["corpus"] == second.material.options["corpus"]
    said = "" if same else f"the same utterances, other features: {corpora[0]} and {corpora[1]}"
    return Pair(first, second, summary.compare(first.runs, second.runs), said)


#: Columns of the studies' table: the first three hold words.
HEAD = (
    "study", "corpus", "backbone", "trials", "validation", "test", "opened", "95 % interval", "baseline",
    "difference",
)  # fmt: skip
#: Columns of the pairs' table: the first and the last hold words.
PAIRS_HEAD = (
    "first less second",
    "difference",
    "95 % interval",
    "p",
    "p corrected",
    "Wilcoxon, dialogues",
    "",
)
NOTE = (
    "Weighted F1 of each study's winner: on validation the mean of its finals, or else its search score; on "
    "test mean ± standard deviation over its trainings. Who takes the best of these studies by its test "
    "score selects on test."
)


def study_rows(found: Comparison) -> list[tuple[str, ...]]:
    """A row for each study, under HEAD."""
    return [_study_row(side) for side in found.sides]


def _study_row(side: Side) -> tuple[str, ...]:
    m, tested = side.material, side.tested
    test = m.final.test
    baseline = None if test is None else test.baseline
    difference = None if test is None or test.difference is None else test.difference.bootstrap
    return (
        side.label,
        m.corpus,
        side.backbone,
        str(len(record.finished(m.study))),
        percent(validation_score(m)),
        DASH if tested is None else spread(tested.weighted_f1),
        DASH if tested is None else times(m.opened),
        DASH if tested is None else span(tested.interval),
        DASH if baseline is None else spread(baseline.weighted_f1),
        DASH if difference is None else points(difference.interval.value),
    )


def times(opened: int) -> str:
    """How often test was opened, as it stands beside a test score."""
    return f"{opened} times (!)" if opened > 1 else "once"


def validation_score(m: Material) -> float | None:
    """Of the winner: the mean of its finals; without finals its score in the search."""
    finalists = () if m.final.finalists is None else m.final.finalists.candidates
    mean = next((one.mean for one in finalists if one.state == "winner"), None)
    if mean is not None:
        return float(mean)
    return None if m.winner is None else record.score(m.winner)


def pair_rows(found: Comparison) -> list[tuple[str, ...]]:
    """A row for every two studies, under PAIRS_HEAD."""
    rows = []
    for pair in found.pairs:
        name = f"{pair.first.label} less {pair.second.label}"
        known = None if pair.difference is None else pair.difference.bootstrap
        if pair.difference is None or known is None:
            rows.append((name, *[DASH] * 5, pair.why or "a single dialogue tells nothing"))
            continue
        interval, corrected = known.interval, found.corrected(pair) or 0.0
        over_dialogues = pair.difference.wilcoxon_over_dialogues
        wilcoxon = DASH if over_dialogues is None else p_value(over_dialogues.p)
        tests = (
            points(interval.value),
            span(interval, signed=True),
            p_value(known.p),
            p_value(corrected),
        )
        rows.append((name, *tests, wilcoxon, pair.why))
    return rows
