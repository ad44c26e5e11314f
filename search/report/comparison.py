"""Studies side by side (``--compare``): paired tests where two were tested on the same utterances.

Otherwise, across corpora or test splits, only their intervals stand side by side, without a test.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rigsl.config import FIELDS
from rigsl.errors import UserError
from rigsl.wording import DASH, listed, p_value, percent, points
from search.confirm import summary
from search.confirm.answers import several_answers
from search.confirm.evaluation import read_predictions
from search.confirm.predictions import SeedRuns, check_paired
from search.confirm.summary import PairedTests, TestScores
from search.record import record
from search.report.answers import HEAD as ANSWER_HEAD
from search.report.answers import answer_cells
from search.report.data import StudyData, read_study_data
from search.report.format import span, spread


@dataclass(frozen=True)
class ComparedStudy:
    """A study in a comparison."""

    label: str  #: its name; with its folder's name if two studies share it
    data: StudyData
    predictions: SeedRuns | None  #: of its winner's trainings on test; None: not recorded

    @property
    def tested(self) -> TestScores | None:
        """The test scores of its winner; None: it was not tested."""
        test = self.data.final.test
        return None if test is None else test.winner

    @property
    def backbone(self) -> str:
        """The backbone of its winner."""
        configuration, winner = self.data.final.winner, self.data.winner
        searched = {} if winner is None else winner.params
        confirmed = {} if configuration is None else configuration.config
        values = {**self.data.space.fixed, **searched, **confirmed}
        return str(values.get("backbone", FIELDS["backbone"].default))

    @property
    def on_folds(self) -> bool:
        """Whether its finalists were scored on held-out folds of train, not on dev."""
        finalists = self.data.final.finalists
        return finalists is not None and bool(finalists.folds)

    @property
    def validation_score(self) -> float | None:
        """The winner's mean over the fresh seeds of the finalists; without finalists its search score."""
        finalists = self.data.final.finalists
        candidates = () if finalists is None else finalists.candidates
        mean = next((finalist.mean for finalist in candidates if finalist.state == "winner"), None)
        if mean is not None:
            return float(mean)
        return None if self.data.winner is None else record.score(self.data.winner)


@dataclass(frozen=True)
class StudyPair:
    """Two studies and the tests of the difference between their winners, first minus second."""

    first: ComparedStudy
    second: ComparedStudy
    tests: PairedTests | None  #: None: no paired test is possible
    remark: str  #: why there is no test, or what must be known about it

    @property
    def p(self) -> float | None:
        """The p value of the paired bootstrap; None: there is none."""
        bootstrap = None if self.tests is None else self.tests.bootstrap
        return None if bootstrap is None else float(bootstrap.p)


@dataclass(frozen=True)
class StudyComparison:
    """Several studies, and all pairs of them."""

    studies: Sequence[ComparedStudy]
    pairs: Sequence[StudyPair]

    @property
    def test_count(self) -> int:
        """The number of paired tests."""
        return sum(pair.p is not None for pair in self.pairs)

    def corrected(self, pair: StudyPair) -> float | None:
        """The p value of a pair times the number of tests (Bonferroni)."""
        return None if pair.p is None else min(1.0, pair.p * self.test_count)


def compare_studies(folders: Sequence[Path]) -> StudyComparison:
    """Read the studies in the run folders and compare all pairs.

    Raises:
        UserError: fewer than two studies, one of them twice, or a record that does not answer.
    """
    if len(folders) < 2:
        raise UserError("--compare: needs the names of two studies or more")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("--compare: the same study is named twice")
    names = [folder.name for folder in folders]
    studies = [
        _read(folder, folder.name if names.count(folder.name) == 1 else f"{folder.parent.name}/{folder.name}")
        for folder in folders
    ]
    pairs = [_pair(first, second) for first, second in itertools.combinations(studies, 2)]
    return StudyComparison(studies, pairs)


def _read(folder: Path, label: str) -> ComparedStudy:
    data, predictions = read_study_data(folder), read_predictions(folder).get("winner")
    if predictions is not None and not _is_of_winner(predictions, data):
        predictions = None
    return ComparedStudy(label, data, predictions)


def _is_of_winner(predictions: SeedRuns, data: StudyData) -> bool:
    """Whether predictions are of the study's winner; a resumed study may have one that is not tested yet."""
    winner = data.final.winner
    return winner is None or predictions.config_hash in ("", winner.config_hash)


def _pair(first: ComparedStudy, second: ComparedStudy) -> StudyPair:
    corpora = f"{first.data.corpus} and {second.data.corpus}"
    datasets = {str(study.data.options["dataset"]).upper() for study in (first, second)}
    if len(datasets) > 1:
        return StudyPair(first, second, None, f"different datasets: {corpora}")
    if first.predictions is None or second.predictions is None:
        missing = listed([study.label for study in (first, second) if study.predictions is None])
        return StudyPair(first, second, None, f"no recorded predictions of {missing}")
    try:
        check_paired(first.predictions, second.predictions)
    except ValueError:
        return StudyPair(first, second, None, "not tested on the same utterances")
    same_features = first.data.options["corpus"] == second.data.options["corpus"]
    remark = "" if same_features else f"the same utterances with different features: {corpora}"
    return StudyPair(first, second, summary.compare(first.predictions, second.predictions), remark)


#: Columns of the table of studies: the first WORDS are words.
HEAD = (
    "study", "corpus", "backbone", "winner", "trials", "validation", "test", "test opened", "95 % interval",
    "baseline", "difference",
)  # fmt: skip
WORDS = 4
#: Columns of the table of pairs: the first and the last are words.
PAIRS_HEAD = (
    "first minus second",
    "difference",
    "95 % interval",
    "p",
    "p corrected",
    "Wilcoxon, dialogues",
    "",
)
#: Columns of the table of answers: the first two are words.
ANSWERS_HEAD = ("study", "answer", *ANSWER_HEAD)
NOTE = (
    "Weighted F1 of each study's winner: a start point of the space file (given), or found by the search. "
    "Validation: mean over the fresh seeds of the finalists, or the "
    "search score if there were none. Test: mean ± standard deviation over the trainings. Choosing a study "
    "by its test score selects on test."
)
FOLDS_NOTE = " Validation (folds): finalists scored on held-out folds of train; not comparable with dev."
ANSWERS_NOTE = (
    "The answers of a study were fixed before test was opened, and opened together. Configuration: mean over "
    "fresh seeds, comparable with the literature; the tables of studies and pairs are about it. Taught: the "
    "same configuration, taught by the out-of-fold average of the finalists; one model, same size and speed. "
    "Average: mean probabilities of the finalists' trainings."
)


def study_rows(comparison: StudyComparison) -> list[tuple[str, ...]]:
    """A row for each study, under HEAD."""
    return [_study_row(study) for study in comparison.studies]


def _study_row(study: ComparedStudy) -> tuple[str, ...]:
    data, tested, test = study.data, study.tested, study.data.final.test
    bootstrap = None if test is None or test.difference is None else test.difference.bootstrap
    baseline = None if test is None else test.baseline
    return (
        study.label,
        data.corpus,
        study.backbone,
        DASH if data.winner is None else data.origin,
        str(len(record.finished(data.study))),
        percent(study.validation_score) + (" (folds)" if study.on_folds else ""),
        spread(None if tested is None else tested.weighted_f1),
        DASH if tested is None else times_opened(data.test_openings),
        span(None if tested is None else tested.interval),
        spread(None if baseline is None else baseline.weighted_f1),
        points(None if bootstrap is None else bootstrap.interval.value),
    )


def note_of(comparison: StudyComparison) -> str:
    """What must be known to read the table of studies."""
    return NOTE + (FOLDS_NOTE if any(study.on_folds for study in comparison.studies) else "")


def answer_rows(comparison: StudyComparison) -> list[tuple[str, ...]]:
    """The rows under ANSWERS_HEAD: the answers of every study that has more than the configuration."""
    return [
        (study.label, answer.name, *answer_cells(answer))
        for study in comparison.studies
        for answer in several_answers(study.data.final.test)
    ]


def times_opened(openings: int) -> str:
    """How often the test split was opened, for a table."""
    return f"{openings} times (!)" if openings > 1 else "once"


def pair_rows(comparison: StudyComparison) -> list[tuple[str, ...]]:
    """A row for each pair, under PAIRS_HEAD."""
    return [_pair_row(comparison, pair) for pair in comparison.pairs]


def _pair_row(comparison: StudyComparison, pair: StudyPair) -> tuple[str, ...]:
    name = f"{pair.first.label} minus {pair.second.label}"
    if pair.tests is None or pair.tests.bootstrap is None:
        return name, *[DASH] * 5, pair.remark or "no test is possible with a single dialogue"
    bootstrap, wilcoxon = pair.tests.bootstrap, pair.tests.wilcoxon_over_dialogues
    return (
        name,
        points(bootstrap.interval.value),
        span(bootstrap.interval, signed=True),
        p_value(bootstrap.p),
        p_value(comparison.corrected(pair) or 0.0),
        DASH if wilcoxon is None else p_value(wilcoxon.p),
        pair.remark,
    )
