"""What `train` and `test` print and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.config import RIGSLConfig
from rigsl.console import make_console
from rigsl.data.corpus import Corpus
from rigsl.device import is_out_of_memory
from rigsl.errors import UserError, first_line
from rigsl.files import cannot_write
from rigsl.inference.average import Average
from rigsl.model.rigsl import RIGSL
from rigsl.wording import counted

if TYPE_CHECKING:
    from rigsl.training.teacher import Teacher, TeacherRecord


def train_and_save(
    config: RIGSLConfig, corpus: Corpus, out: Path, device: str, teacher: Teacher | None = None
) -> None:
    """Train, print every epoch, and write the checkpoint of the best epoch.

    Raises:
        UserError: the corpus and the configuration do not fit, the training diverged or needs more memory
            than there is, or `out` cannot be written.
    """
    from rigsl.training.checkpoint import save_checkpoint
    from rigsl.training.fit import fit
    from rigsl.training.trainer import EpochReport, TrainingDiverged

    console = make_console(soft_wrap=False)
    console.print(f"{corpus.name}: training configuration {config.content_hash()} on {device}")
    if teacher is not None:
        taught = counted(len(teacher.taught_rows(corpus)), "training utterance")
        console.print(f"{_taught_by(teacher.record)}; it has targets for {taught}", soft_wrap=True)

    def show(report: EpochReport) -> None:
        mark = " *" if report.improved else ""
        console.print(
            f"epoch {report.epoch:3d}/{config.epochs}  loss {report.train_loss:8.4f}  "
            f"dev weighted F1 {report.validation.weighted_f1:.4f}  ({report.seconds:.1f} s){mark}"
        )

    try:
        result = fit(config, corpus.without_test_labels(), device=device, on_epoch=show, teacher=teacher)
    except TrainingDiverged as error:
        raise UserError(f"{error}; try a smaller lr") from None
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"this configuration needs more memory than {device} has ({first_line(error, length=200)}); "
            "try a smaller batch_size or hidden_dim"
        ) from None
    try:
        save_checkpoint(out, result.model, teacher=None if teacher is None else teacher.record)
    except OSError as error:
        raise cannot_write(out, error) from None
    best = result.best
    console.print(
        f"best epoch {best.epoch}: dev weighted F1 {best.validation.weighted_f1:.4f}, "
        f"accuracy {best.validation.accuracy:.4f}; checkpoint in {out}",
        soft_wrap=True,
    )


def _taught_by(teacher: TeacherRecord) -> str:
    return (
        f"taught by {teacher.origin or teacher.digest[:12]} (weight {teacher.weight:g}, temperature "
        f"{teacher.temperature:g})"
    )


def print_scores(
    model: RIGSL | Average,
    source: Path,
    corpus: Corpus,
    split: str,
    device: str,
    teacher: TeacherRecord | None = None,
) -> None:
    """Print the scores on a split, over all classes and for each class, and the confusion matrix.

    Args:
        model: a model or an average of models.
        source: where the model comes from, for the heading.
        teacher: what its checkpoint says of its teacher, if it had one.

    Raises:
        UserError: the model and the corpus do not fit together.
    """
    from sklearn.metrics import classification_report, confusion_matrix

    from rigsl.inference.average import evaluate_model

    result = evaluate_model(model, corpus, split, device=device)
    console = make_console()
    classes, predicted = list(range(len(corpus.classes))), result.log_prob.argmax(axis=1)
    console.print(f"{source} on {corpus.name}, {split} split")
    if teacher is not None:
        console.print(_taught_by(teacher), soft_wrap=True)
    console.print(
        classification_report(
            result.labels, predicted, labels=classes, target_names=corpus.classes, digits=4, zero_division=0
        )
    )
    console.print("confusion matrix, true class in rows and predicted class in columns:")
    console.print(str(confusion_matrix(result.labels, predicted, labels=classes)))
    weighted, accuracy, macro = result.scores.weighted_f1, result.scores.accuracy, result.scores.macro_f1
    console.print(f"weighted F1 {weighted:.4f}  accuracy {accuracy:.4f}  macro F1 {macro:.4f}")
