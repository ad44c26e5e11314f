"""What is tested besides the winner's trainings, and the record of all that was tested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from search.confirm import summary
from search.confirm.evaluation import AVERAGE, AVERAGE_BASELINE, BASELINE, WINNER, Checkpoints
from search.confirm.final_record import AnswerRecord, TestRecord
from search.confirm.predictions import SeedRuns
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Job

#: An average needs so many members.
MIN_MEMBERS = 2


def average_of(side: str, label: str, trainings: TrainingRunner, jobs: Sequence[Job]) -> Checkpoints | None:
    """The average of those `jobs` that ended well; None if there are fewer than MIN_MEMBERS.

    Args:
        side: AVERAGE or AVERAGE_BASELINE.
        label: whose trainings they are, in words.
        trainings: of the study.
        jobs: the members.
    """
    ended = [job for job in jobs if trainings.scores([job])]
    if len(ended) < MIN_MEMBERS:
        return None
    digest = hashlib.sha256("\n".join(job.name for job in ended).encode()).hexdigest()
    return Checkpoints(side, label, digest, dict(enumerate(map(trainings.model, ended))), averaged=True)


def record_of(
    tested: Mapping[str, SeedRuns],
    validation: Mapping[str, tuple[float, ...]],
    members: Mapping[str, int],
    seed: int,
) -> TestRecord:
    """The scores of all answers on test, and of the baseline in the same form.

    Args:
        tested: side -> predictions.
        validation: side -> weighted F1 on dev.
        members: side of an average -> number of its members.
        seed: of the resampling.
    """
    difference = None
    if BASELINE in tested:
        difference = summary.compare(tested[WINNER], tested[BASELINE], seed)
    return TestRecord(
        seeds=tested[WINNER].seeds,
        winner=summary.describe(tested[WINNER], seed),
        baseline=summary.describe(tested[BASELINE], seed) if BASELINE in tested else None,
        difference=difference,
        validation={side: validation[side] for side in (WINNER, BASELINE) if side in tested},
        average=_answer(AVERAGE, AVERAGE_BASELINE, tested, validation, members, seed),
    )


def _answer(
    side: str,
    other: str,
    tested: Mapping[str, SeedRuns],
    validation: Mapping[str, tuple[float, ...]],
    members: Mapping[str, int],
    seed: int,
) -> AnswerRecord | None:
    if side not in tested:
        return None
    runs, baseline = tested[side], tested.get(other)
    return AnswerRecord(
        winner=summary.describe(runs, seed),
        baseline=None if baseline is None else summary.describe(baseline, seed),
        difference=None if baseline is None else summary.compare(runs, baseline, seed),
        members=members[side],
        validation={
            name: validation[key] for name, key in ((WINNER, side), (BASELINE, other)) if key in tested
        },
        parameters=runs.parameters,
    )
