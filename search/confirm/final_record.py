"""``final.json`` as types: finalists, winner and baseline, their test scores, and when test was opened.

Every part that a study has not reached is None. `read_final_record` and `write_final_record` are the only
readers and writers of the file.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigsl.errors import UserError
from search.confirm.summary import PairedTests, TestScores
from search.run_folder import FINAL, read_file, write_file
from search.trust.trust_record import TrustRecord

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class FinalistRecord:
    """A finalist's score in the search, and its validation scores with fresh seeds (fractions)."""

    trial: int
    config_hash: str
    params: dict[str, Any]
    search_score: float
    complete: bool  #: whether its trial reached its last epoch in the search
    scores: tuple[float | None, ...]  #: in the order of the seeds; None: that training failed
    mean: float | None
    std: float | None
    standard_error: float | None
    state: str  #: "winner", "finished", "stopped" by the race, or "failed"
    reason: str  #: why it was stopped or failed


@dataclass(frozen=True)
class FinalistsRecord:
    """The race of the finalists, the best first."""

    seeds: tuple[int, ...]
    epochs: int
    candidates: tuple[FinalistRecord, ...]
    #: selection bias: mean of search score minus mean over fresh seeds; None where these are scores on folds
    optimism: float | None
    #: the held-out fold of train that each seed's training is scored on; empty: all are scored on dev
    folds: tuple[int, ...] = ()


@dataclass(frozen=True)
class ConfigurationRecord:
    """The configuration of the winner or of the baseline."""

    trial: int | None  #: of the search; None: no trial had the baseline's configuration
    config: dict[str, Any]
    params: dict[str, Any]  #: the searched part of it
    config_hash: str


@dataclass(frozen=True)
class AnswerRecord:
    """Another form of the result on test than the configuration's trainings: taught models, or an average.

    The baseline has the same form: its configuration taught by the same teacher, or the average of its
    trainings.
    """

    winner: TestScores
    baseline: TestScores | None
    difference: PairedTests | None  #: winner minus baseline
    members: int  #: trainings that are averaged (average), or that the teacher consists of (taught)
    validation: dict[str, tuple[float, ...]]  #: side -> weighted F1 on dev, in the order of the seeds
    parameters: int  #: of the winner's model, all members together
    milliseconds: float | None = None  #: an utterance, on the CPU with the threads of a trial
    baseline_members: int | None = None  #: of the baseline's average


@dataclass(frozen=True)
class TestRecord:
    """Winner and baseline on the test split, and their difference (winner minus baseline).

    Up to three answers from one budget, all fixed before test was opened, and opened together: the
    configuration (winner and baseline, over fresh seeds), `taught`, and `average`.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    seeds: tuple[int, ...]
    winner: TestScores
    baseline: TestScores | None
    difference: PairedTests | None
    validation: dict[str, tuple[float, ...]] = field(
        default_factory=dict
    )  #: side -> validation scores of the same trainings
    parameters: int | None = None  #: of one training of the winner
    milliseconds: float | None = None  #: an utterance, of one training of the winner
    taught: AnswerRecord | None = None  #: the winner's configuration, taught by the finalists out of fold
    average: AnswerRecord | None = None  #: the mean of the probabilities of the finalists' trainings

    def side(self, name: str) -> TestScores | None:
        """The scores of "winner" or "baseline"."""
        return self.winner if name == "winner" else self.baseline


@dataclass(frozen=True)
class PaperScores:
    """Weighted F1 of several trainings at their best test epochs: optimistic."""

    values: tuple[float, ...]
    mean: float
    std: float | None


@dataclass(frozen=True)
class PaperRecord:
    """The field's protocol: trained on train + dev, the best test epoch reported."""

    seeds: tuple[int, ...]
    winner: PaperScores | None
    baseline: PaperScores | None


@dataclass(frozen=True)
class StepRecord:
    """A configuration on the path from the baseline to the winner."""

    changes: dict[str, tuple[Any, Any]]  #: name -> values before and after; None: it does not exist there
    params: dict[str, Any]
    scores: tuple[float | None, ...]  #: in the order of the finals' blocks; None: that training failed
    mean: float | None
    gain: float | None  #: over the step before, over their common blocks; None: the baseline, or not known
    error: float | None  #: standard error of the gain; None: not known


@dataclass(frozen=True)
class ExplanationRecord:
    """The path from the baseline to the winner, trained under the finals' blocks."""

    steps: tuple[StepRecord, ...]  #: the baseline first, the winner last
    simplest: int | None  #: the first step that is not worse than the winner beyond noise; None: not known
    trainings: int  #: of the path; the finals have shared theirs


@dataclass(frozen=True)
class Opening:
    """One opening of the test split."""

    at: str  #: date and time, ISO 8601
    what: str  #: what was tested
    protocol: str  #: "validation" or "paper"


@dataclass(frozen=True)
class FinalRecord:
    """The content of ``final.json``."""

    finalists: FinalistsRecord | None = None
    winner: ConfigurationRecord | None = None
    baseline: ConfigurationRecord | None = None
    tested: dict[str, tuple[str, ...]] | None = None  #: written by version 0.1.0 only
    openings: tuple[Opening, ...] = ()
    test: TestRecord | None = None
    paper: PaperRecord | None = None
    trust: TrustRecord | None = None  #: written before test is opened; None: by an earlier version
    explanation: ExplanationRecord | None = None  #: None: it was not asked for

    def opened(self, what: str, protocol: str) -> FinalRecord:
        """This record with one more opening of the test split, now."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return dataclasses.replace(self, openings=(*self.openings, Opening(now, what, protocol)))

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and tuples; parts that a study has not reached are left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: Any) -> FinalRecord:
        """The inverse of `to_json`, for files of earlier versions too.

        Raises:
            ValueError: a part is missing or has the wrong type.
        """
        return _adapter().validate_python(content)


def read_final_record(folder: Path) -> FinalRecord:
    """The record of the run folder `folder`; an empty one where there is no ``final.json``.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FINAL
    content = read_file(path, dict, run=folder)
    if content is None:
        return FinalRecord()
    try:
        return FinalRecord.from_json(content)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: is damaged; restore it from a copy ({reason})") from None


def write_final_record(folder: Path, record: FinalRecord) -> None:
    """Replace ``final.json`` of the run folder `folder`, atomically."""
    write_file(folder / FINAL, json.dumps(record.to_json(), indent=2) + "\n")


@cache
def _adapter() -> TypeAdapter[FinalRecord]:
    from pydantic import TypeAdapter  # only where it is used: a search starts fast

    return TypeAdapter(FinalRecord)
