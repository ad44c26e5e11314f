"""The answers of a study on test: configuration, and where they exist taught and average.

All are fixed before test is opened, and are opened together. So none of them is picked by its test score:
each is a result of its own, with the baseline in the same form beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rigsl.wording import counted
from search.confirm.bootstrap import Difference
from search.confirm.final_record import AnswerRecord, TestRecord
from search.confirm.summary import PairedTests, TestScores
from search.run_folder import AVERAGE, TAUGHT

CONFIGURATION = "configuration"


@dataclass(frozen=True)
class Answer:
    """One form of a study's result on test, and the baseline in the same form."""

    name: str  #: CONFIGURATION, TAUGHT or AVERAGE
    meaning: str  #: what it is, in one short sentence
    winner: TestScores
    baseline: TestScores | None
    tests: PairedTests | None  #: winner minus baseline
    validation: dict[str, tuple[float, ...]] = field(default_factory=dict)  #: side -> weighted F1 on dev
    members: int | None = None  #: trainings that are averaged or that teach; None: the configuration
    parameters: int | None = None  #: of the model, all members together; None: not known
    milliseconds: float | None = None  #: an utterance; None: not measured

    @property
    def bootstrap(self) -> Difference | None:
        """The paired bootstrap of weighted F1 against the baseline; None: there is none."""
        return None if self.tests is None else self.tests.bootstrap

    @property
    def difference(self) -> float | None:
        """Mean weighted F1 of the winner minus that of the baseline; None: there is no baseline."""
        if self.baseline is None:
            return None
        return self.winner.weighted_f1.mean - self.baseline.weighted_f1.mean

    def side(self, name: str) -> TestScores | None:
        """The scores of "winner" or "baseline"."""
        return self.winner if name == "winner" else self.baseline


def answers_of(test: TestRecord) -> tuple[Answer, ...]:
    """The answers of a study: the configuration, then taught and average, where it has them."""
    others = {TAUGHT: test.taught, AVERAGE: test.average}
    found = [_other(name, record) for name, record in others.items() if record is not None]
    return (_configuration(test), *found)


def several_answers(test: TestRecord | None) -> tuple[Answer, ...]:
    """The answers of a study that has more than the configuration; empty: it has no other."""
    answers = () if test is None else answers_of(test)
    return answers if len(answers) > 1 else ()


def answers_in_numbers(test: TestRecord) -> dict[str, dict[str, float | int | None]]:
    """Name of an answer -> its numbers, for files: scores and differences are fractions.

    ``weighted_f1``: mean over its trainings, ``low`` to ``high`` its interval; ``baseline``: the baseline in
    the same form; ``difference`` and ``p`` by the paired bootstrap; ``members``, ``parameters``,
    ``milliseconds``: see `Answer`. None: not known.
    """
    return {answer.name: _numbers(answer) for answer in answers_of(test)}


def fixed_before_test(answers: Sequence[Answer]) -> str:
    """The sentence on how several answers are chosen."""
    number = "Both" if len(answers) == 2 else f"All {len(answers)}"
    return (
        f"{number} answers were fixed before test was opened, and were opened together; none is picked by "
        "its test score."
    )


def _configuration(test: TestRecord) -> Answer:
    seeds = len(test.winner.seeds)
    trainings = f"mean over {counted(seeds, 'fresh seed')}" if seeds > 1 else "a single training"
    return Answer(
        name=CONFIGURATION,
        meaning=f"{trainings}: comparable with the literature",
        winner=test.winner,
        baseline=test.baseline,
        tests=test.difference,
        validation=test.validation,
        parameters=test.parameters,
        milliseconds=test.milliseconds,
    )


def _other(name: str, record: AnswerRecord) -> Answer:
    trainings = counted(record.members, "training")
    ours = "" if record.baseline_members is None else f", {record.baseline_members} for the baseline"
    meaning = f"mean probabilities of {trainings}{ours}"
    if name == TAUGHT:
        meaning = (
            f"the same configuration, taught by the out-of-fold average of {trainings}: one model, same size "
            "and speed"
        )
    return Answer(
        name=name,
        meaning=meaning,
        winner=record.winner,
        baseline=record.baseline,
        tests=record.difference,
        validation=record.validation,
        members=record.members,
        parameters=record.parameters,
        milliseconds=record.milliseconds,
    )


def _numbers(answer: Answer) -> dict[str, float | int | None]:
    interval, baseline, bootstrap = answer.winner.interval, answer.baseline, answer.bootstrap
    return {
        "weighted_f1": answer.winner.weighted_f1.mean,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "baseline": None if baseline is None else baseline.weighted_f1.mean,
        "difference": answer.difference,
        "p": None if bootstrap is None else bootstrap.p,
        "members": answer.members,
        "parameters": answer.parameters,
        "milliseconds": answer.milliseconds,
    }
