"""What is tested besides the winner's trainings, and the record of all that was tested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.training.held_out import HeldOut
from rigsl.training.teacher import Teacher
from rigsl.wording import counted
from search.confirm import summary
from search.confirm.answers import AVERAGE, TAUGHT
from search.confirm.evaluation import (
    AVERAGE_BASELINE,
    BASELINE,
    TAUGHT_BASELINE,
    WINNER,
    Checkpoints,
)
from search.confirm.final_record import AnswerRecord, TestRecord
from search.confirm.predictions import SeedRuns
from search.confirm.runner import TrainingRunner
from search.confirm.trainings import Job
from search.run_folder import TEACHER

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


def write_teacher(
    folder: Path, predictions: Sequence[HeldOut], corpus: Corpus, weight: float, temperature: float
) -> tuple[Path, str]:
    """Write the teacher of out-of-fold predictions, unless it is there; returns its file and its digest.

    Args:
        folder: of the final stage's trainings.
        predictions: of the finalists.
        corpus: of the study.
        weight, temperature: see `Teacher`.
    """
    trainings = counted(len(predictions), "training")
    teacher = Teacher.out_of_fold(
        [(part.rows, part.log_prob) for part in predictions],
        corpus,
        weight=weight,
        temperature=temperature,
        origin=f"the mean of {trainings} of the finalists, out of fold",
    )
    path = folder / f"{TEACHER}-{teacher.digest[:8]}.safetensors"
    if not path.is_file():
        teacher.save(path)
    return path, teacher.digest


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
        members: side of an average, or of a taught winner -> trainings that it, or its teacher, consists of.
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
        taught=_answer(TAUGHT, TAUGHT_BASELINE, tested, validation, members, seed),
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
