"""What is tested besides the winner's trainings, and the record of all that was tested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.training.teacher import Teacher
from rigsl.wording import counted
from search.confirm import summary
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
from search.confirm.trainings import Job, identity, make_job, make_taught_job
from search.plan.plan import Plan
from search.run_folder import AVERAGE, TAUGHT, TEACHER

#: An average needs so many members.
MIN_MEMBERS = 2


class TestedTrainings:
    """The trainings that a study tests besides each other: of winner and baseline, the same taught, averages.

    Args:
        plan: of the study.
        trainings: of its final stage.
        finalists: the finalists' trainings that ended well; the race is over, so that they stay the same.
        sides: in words -> configuration: of the winner and, if there is one, of the baseline.
    """

    __test__ = False  # no test class, whatever pytest makes of its name

    def __init__(
        self,
        plan: Plan,
        trainings: TrainingRunner,
        finalists: Sequence[Job],
        sides: Mapping[str, RIGSLConfig],
    ) -> None:
        self.plan, self.options, self.trainings = plan, plan.final, trainings
        self.seeds = plan.final_seeds.tests
        self._finalists, self._sides = list(finalists), sides

    def jobs(self) -> list[Job]:
        """All that are trained for the test, one seed of all sides after another; then the same taught."""
        jobs = [make_job(label, config, seed) for seed in self.seeds for label, config in self._sides.items()]
        return jobs + [job for seed_jobs in zip(*self._taught.values(), strict=True) for job in seed_jobs]

    def members(self) -> list[Job]:
        """The members of the average; none where nothing else is trained for the test."""
        return self._finalists if self.seeds else []

    def best_taught(self) -> Job | None:
        """The winner's best taught training on dev; None: there is none."""
        ended = self._ended(self._taught.get(TAUGHT, []))
        return max(ended, key=lambda job: self.trainings.scores([job])[0], default=None)

    def checkpoints(self, winner: Checkpoints) -> tuple[list[Checkpoints], list[Checkpoints]]:
        """What is tested: the trainings of winner and baseline, and the other answers.

        Args:
            winner: its trainings that ended well.
        """
        first, averages = [winner], [self._average(AVERAGE, "the finalists", self.members())]
        for label, config in list(self._sides.items())[1:]:
            ended = self._ended([make_job(label, config, seed) for seed in self.seeds])
            if ended:
                first.append(Checkpoints(BASELINE, label, identity(config), self._folders(ended)))
                averages.append(self._average(AVERAGE_BASELINE, label, ended))
        taught = [self._taught_side(side, jobs) for side, jobs in self._taught.items()]
        return first, [*_until_none(taught), *_until_none(averages)]

    def _taught_side(self, side: str, jobs: Sequence[Job]) -> Checkpoints | None:
        """The taught trainings of one side that ended well; None: there are none."""
        ended = self._ended(jobs)
        if not ended or self._teacher is None:
            return None
        label = f"{list(self._sides)[side != TAUGHT]}, taught"
        key = f"{identity(ended[0].config)} {self._teacher[1]}"
        return Checkpoints(side, label, key, self._folders(ended))

    def _average(self, side: str, label: str, jobs: Sequence[Job]) -> Checkpoints | None:
        """The average of those `jobs` that ended well; None if there are fewer than MIN_MEMBERS."""
        ended = self._ended(jobs)
        if len(ended) < MIN_MEMBERS:
            return None
        digest = hashlib.sha256("\n".join(job.name for job in ended).encode()).hexdigest()
        folders = dict(enumerate(map(self.trainings.model, ended)))
        return Checkpoints(side, label, digest, folders, averaged=True)

    def _ended(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if self.trainings.scores([job])]

    def _folders(self, jobs: Sequence[Job]) -> dict[int, Path]:
        return {job.config.seed: self.trainings.model(job) for job in jobs}

    @cached_property
    def _taught(self) -> dict[str, list[Job]]:
        """The taught trainings: side -> jobs; empty: nothing is taught."""
        if self._teacher is None:
            return {}
        path, digest = self._teacher
        return {
            side: [make_taught_job(label, config, seed, path, digest) for seed in self.seeds]
            for side, (label, config) in zip((TAUGHT, TAUGHT_BASELINE), self._sides.items(), strict=False)
        }

    @cached_property
    def _teacher(self) -> tuple[Path, str] | None:
        """File and digest of the teacher: the finalists' mean out of fold; None: nothing is taught."""
        predicted = self.trainings.held_out([job for job in self._finalists if job.fold is not None])
        if not predicted or not self.seeds or not self.options.teacher_weight:
            return None
        teacher = Teacher.out_of_fold(
            [(part.rows, part.log_prob) for part in predicted],
            self.plan.corpus,
            weight=self.options.teacher_weight,
            temperature=self.options.teacher_temperature,
            origin=f"the mean of {counted(len(predicted), 'training')} of the finalists, out of fold",
        )
        path = self.trainings.folder / f"{TEACHER}-{teacher.digest[:8]}.safetensors"
        if not _is_file_of(path, teacher):
            teacher.save(path)
        return path, teacher.digest


def _is_file_of(path: Path, teacher: Teacher) -> bool:
    """Whether a file holds this teacher; a damaged one does not."""
    try:
        return path.is_file() and Teacher.load(path).digest == teacher.digest
    except UserError:
        return False


def _until_none(found: Sequence[Checkpoints | None]) -> Iterator[Checkpoints]:
    """Those before the first None: without the winner's side, that of the baseline has no use."""
    for checkpoints in found:
        if checkpoints is None:
            return
        yield checkpoints


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
        parameters=tested[WINNER].parameters or None,
        milliseconds=tested[WINNER].milliseconds or None,
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
        milliseconds=runs.milliseconds or None,
        baseline_members=members.get(other),
    )
