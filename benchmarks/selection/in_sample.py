"""Whether a teacher made of seeds pays where folds are refused: ``python -m benchmarks.selection.in_sample``.

In this corpus the emotions of train come from encoders that learned its labels (*in-sample*, as many
published features are), so that out-of-fold predictions would be false and a search teaches nothing. What is
left is a teacher without folds: the mean of what trainings with other seeds predict for the utterances that
they learned from. Students are trained with it and without, with the same fresh seeds.

A score is that of the dev split: each half at the epoch that is best on the other half. Test is not read.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.markdown import markdown
from benchmarks.selection.quarters import corpus
from benchmarks.selection.tables import FOLDER
from benchmarks.selection.trainings import space
from rigsl.cli.arguments import Parser
from rigsl.data.corpus import Corpus
from rigsl.data.folds import NO_FOLD, stratified_parts
from rigsl.data.open.cross_fitting import emotion_columns
from rigsl.data.open.delivery import standardised, train_scaling
from rigsl.data.open.fine_tuned import encoders_of, encoders_path
from rigsl.data.open.meld import Transcript, read_meld
from rigsl.data.open.processes import in_processes
from rigsl.data.open.sentence_encoder import DEFAULT_ENCODER, encoder_folder
from rigsl.data.source import open_path
from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError, error_line
from rigsl.training.scores import confusion_matrix, weighted_f1
from rigsl.training.teacher import Teacher
from rigsl.training.trainer import Training
from search.run_folder import ROOT

TABLE = FOLDER / "in_sample.parquet"
TRAININGS = ROOT / "runs" / "selection" / "in_sample"
#: Start points of the space that are trained, counted from 0, and the seeds of teachers and students.
STARTS, TEACHER_SEEDS, STUDENT_SEEDS = (1, 3), range(5), range(5, 9)
WEIGHTS = (0.3, 0.6)
HALVES_SEED = 0


def in_sample(corpus: Corpus, transcript: Transcript, columns: dict[str, NDArray[np.float64]]) -> Corpus:
    """The corpus with these emotions in place of its own, standardised by those of train.

    columns: name -> values of all utterances [U].
    """
    emotions = standardised(columns, train_scaling(columns, transcript))
    delivery = np.concatenate([corpus.features["d"][:, : -len(columns)], emotions], axis=1)
    return dataclasses.replace(corpus, features=corpus.features | {"d": delivery.astype(np.float32)})


def halves_of_dev(corpus: Corpus) -> list[NDArray[np.int64]]:
    """Rows of dev in two halves of whole dialogues with like classes."""
    dev = corpus.dialogues("dev")
    rows = corpus.rows(dev)
    dialogue = np.repeat(dev, corpus.lengths[dev])
    return [rows[part] for part in stratified_parts(corpus.labels[rows], dialogue, 2, HALVES_SEED)]


def cross_score(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], halves: Sequence[NDArray[np.int64]]
) -> float:
    """Mean weighted F1 over the halves, each at the epoch that is best on the other one.

    Args:
        predicted: classes after every epoch [E, U].
        labels: [U].
        halves: rows of two disjoint halves.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    first, second = (
        np.array([weighted_f1(confusion_matrix(labels[rows], epoch[rows], classes)) for epoch in predicted])
        for rows in halves
    )
    return float((first[second.argmax()] + second[first.argmax()]) / 2)


@dataclasses.dataclass(frozen=True)
class SeedTraining:
    """A training of one of the STARTS with `seed`, in a file of its own."""

    start: int
    seed: int
    teacher: Teacher | None = None

    @property
    def path(self) -> Path:
        """The file of its score, and of its log-probabilities of train."""
        taught = "" if self.teacher is None else f"-taught-{self.teacher.digest[:8]}"
        return TRAININGS / f"{self.start}-{self.seed}{taught}.safetensors"


@cache
def _read_corpus(path: Path) -> Corpus:
    return dataclasses.replace(corpus(), features=corpus().features | map_arrays(path)[0])


def train(job: SeedTraining, delivery: Path, on_steps: Callable[[int], object]) -> None:
    """Train to the last epoch; predictions of train are those of the best epoch on dev."""
    data = _read_corpus(delivery)
    config = space().config(space().starts[job.start], seed=job.seed)
    training = Training(config, data, teacher=job.teacher)
    dev, learned = data.dialogues("dev"), data.dialogues("train")
    predicted = []
    while not training.done:
        training.step()
        evaluation = training.evaluate(dev)
        classes = np.full(len(data.labels), -1)
        classes[evaluation.rows] = evaluation.log_prob.argmax(axis=1)
        predicted.append(classes)
    evaluation = training.evaluate(learned, training.best_model())
    score = cross_score(np.array(predicted), data.labels, halves_of_dev(data))
    arrays: dict[str, np.ndarray] = {"log_prob": evaluation.log_prob, "rows": evaluation.rows}
    write_arrays(job.path, arrays, {"score": score, "train": evaluation.scores.weighted_f1})
    on_steps(1)


def run(jobs: Sequence[SeedTraining], delivery: Path, processes: int, name: str) -> None:
    """Run the jobs that have no file."""
    missing = [{"job": job, "delivery": delivery} for job in jobs if not job.path.exists()]
    if missing:
        in_processes(train, missing, processes, name, len(missing))


def measure(delivery: Path, processes: int) -> pd.DataFrame:
    """All trainings: columns start, seed, weight (0: untaught), score on dev, and weighted F1 on train."""
    teachers = [SeedTraining(start, seed) for start in STARTS for seed in TEACHER_SEEDS]
    run(teachers, delivery, processes, "teachers")
    students = [SeedTraining(start, seed) for start in STARTS for seed in STUDENT_SEEDS]
    for start in STARTS:
        arrays = [map_arrays(job.path)[0] for job in teachers if job.start == start]
        parts = [(one["rows"], one["log_prob"]) for one in arrays]
        for weight in WEIGHTS:
            # Not out of fold: these trainings have learned the labels of these rows.
            teacher = Teacher.out_of_fold(parts, _read_corpus(delivery), weight=weight, origin="other seeds")
            students += [SeedTraining(start, seed, teacher) for seed in STUDENT_SEEDS]
    run(students, delivery, processes, "students")
    rows = []
    for job in students:
        content = map_arrays(job.path)[1]
        weight = 0.0 if job.teacher is None else job.teacher.weight
        rows.append({"start": job.start, "seed": job.seed, "weight": weight, **content})
    return pd.DataFrame(rows)


def table(scores: pd.DataFrame) -> str:
    """Untaught and taught students, and the mean gain of each start point; the error is the standard error
    over the students."""
    untaught = scores[scores["weight"] == 0].set_index(["start", "seed"])["score"]
    rows = []
    for weight, part in scores[scores["weight"] > 0].groupby("weight"):
        taught = part.set_index(["start", "seed"])["score"]
        differences = 100 * (taught - untaught)
        gains = differences.groupby("start").mean()
        by_start = ", ".join(f"{gain:+.1f}" for gain in gains)
        rows.append((
            f"{weight:g}", f"{100 * untaught.mean():.2f}", f"{100 * taught.mean():.2f}",
            f"{gains.mean():+.2f} ± {differences.sem():.2f} ({by_start})",
        ))  # fmt: skip
    return markdown(("Weight", "untaught", "taught by other seeds", "gain, by configuration"), rows)


def _delivery(csv: Path, processes: int) -> Path:
    """The file of the delivery features with in-sample emotions, made once."""
    path = TRAININGS / "delivery.safetensors"
    if not path.exists():
        transcript, data = read_meld(csv), corpus()
        if transcript.dialogue_ids != data.dialogue_ids:
            raise UserError(f"--csv {csv}: these are not the transcripts of the bundled corpus")
        encoders = encoders_of(data, encoders_path(open_path("MELD")))
        nowhere = np.full((encoders.settings.repeats, len(transcript.dialogue_ids)), NO_FOLD)
        folder = encoder_folder(DEFAULT_ENCODER)
        columns = emotion_columns(encoders, transcript, folder, nowhere, processes=processes)
        TRAININGS.mkdir(parents=True, exist_ok=True)
        write_arrays(path, {"d": in_sample(data, transcript, columns).features["d"]}, {})
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table, and print it."""
    description = "Measure whether a teacher made of seeds pays where folds are refused."
    parser = Parser(prog="python -m benchmarks.selection.in_sample", description=description)
    parser.add_argument("--csv", type=Path, required=True, metavar="DIR", help="folder of MELD's CSV files")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one per core")
    try:
        args = parser.parse_args(arguments)
        scores = measure(_delivery(args.csv, args.processes), args.processes)
    except UserError as error:
        print(error_line(error), file=sys.stderr)
        return 2
    scores.to_parquet(TABLE, compression="zstd")
    print(f"{table(scores)}\n\nwrote {TABLE.relative_to(ROOT)}; next: python -m benchmarks.selection")
    return 0


if __name__ == "__main__":
    sys.exit(main())
