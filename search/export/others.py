"""The answers that are exported beside the configuration's checkpoint: ``best/taught`` and ``best/average``.

Each is a folder that can be used by itself: weights, ``metrics.json`` with its scores, and what a rerun
needs.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rigsl.data.folds import train_folds
from rigsl.device import threads
from rigsl.errors import UserError
from rigsl.files import replacing, sha256
from rigsl.inference.average import (
    Average,
    evaluate_model,
    load_average,
    model_digest,
    save_average,
)
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import WEIGHTS, load_checkpoint, read_teacher, save_checkpoint
from search.confirm.evaluation import read_predictions
from search.confirm.predictions import SeedRuns, scores_of, split_scores
from search.confirm.stage import ChosenCheckpoint, Member
from search.plan.plan import Plan
from search.resources.workers import DRIVER_DEVICE
from search.run_folder import AVERAGE, METRICS, PREDICTIONS, TAUGHT, TEACHER_FILE, write_file

#: Scores over all classes.
OVERALL = ("weighted_f1", "macro_f1", "accuracy")
#: What the metrics of every answer say of the study.
SHARED = (
    "study", "dataset", "features", "corpus", "corpus_hash", "labels_in_features", "protocol", "commit",
    "trial", "trials", "ending", "machine", "evaluated_on", "versions",
)  # fmt: skip


def export_others(plan: Plan, chosen: ChosenCheckpoint, folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write the folders of those answers that the study has, and remove those that it has no longer.

    Args:
        plan: of the study.
        chosen: the configuration's checkpoint, with what is exported beside it.
        folder: ``best/``.
        metrics: of the configuration's checkpoint.
    """
    shared = {name: metrics[name] for name in SHARED}
    predictions = read_predictions(plan.folder)
    if chosen.taught is None:
        shutil.rmtree(folder / TAUGHT, ignore_errors=True)
    else:
        _export_taught(plan, chosen.taught, folder / TAUGHT, shared, predictions[TAUGHT])
    if not chosen.members:
        shutil.rmtree(folder / AVERAGE, ignore_errors=True)
    else:
        _export_average(plan, chosen.members, folder / AVERAGE, shared, predictions[AVERAGE])


def _export_taught(
    plan: Plan, taught: ChosenCheckpoint, folder: Path, shared: dict[str, Any], runs: SeedRuns
) -> None:
    assert taught.teacher is not None
    tested = runs.one(runs.seeds.index(taught.seed))
    check_tested(plan, taught.model, tested)
    model, teacher = load_checkpoint(taught.model), read_teacher(taught.model)
    model.config = model.config.replace(epochs=taught.epochs)
    save_checkpoint(folder, model, teacher=teacher, parents=False)
    with replacing(folder / TEACHER_FILE, parents=False) as copy:
        shutil.copyfile(taught.teacher, copy)
    own = {
        "seed": taught.seed,
        "epochs": taught.epochs,
        "best_epoch": taught.best_epoch,
        "teacher_sha256": sha256(folder / TEACHER_FILE),
    }
    _write_metrics(plan, folder, shared | own, model, tested)


def _export_average(
    plan: Plan, members: Sequence[Member], folder: Path, shared: dict[str, Any], runs: SeedRuns
) -> None:
    """Save the members as one average, unless an earlier end of the study did, and removed them since."""
    if all((member.model / WEIGHTS).is_file() for member in members):
        save_average(folder, [load_checkpoint(member.model) for member in members], parents=False)
    average = load_average(folder)
    folds = plan.final.folds or 0
    own = {
        "members": [
            {"config": model.config.to_dict(), "fold": member.fold}
            for model, member in zip(average.members, members, strict=True)
        ],
        # The fold of every dialogue of the corpus: what a member with this fold left out.
        "folds": train_folds(plan.corpus, folds, plan.seed).tolist() if folds else [],
    }
    _write_metrics(plan, folder, shared | own, average, runs)


def _write_metrics(
    plan: Plan, folder: Path, content: Mapping[str, Any], model: RIGSL | Average, tested: SeedRuns
) -> None:
    with threads(plan.workers.cpus):
        evaluation = evaluate_model(model, plan.corpus, "dev", device=DRIVER_DEVICE)
    validation = split_scores(evaluation, plan.corpus, "dev")
    metrics = {
        **content,
        "weights_sha256": model_digest(folder),
        "validation": {name: validation[name] for name in OVERALL},
        "test": dataclasses.asdict(scores_of(tested)[0]),
    }
    write_file(folder / METRICS, json.dumps(metrics, indent=2) + "\n")


def check_tested(plan: Plan, model: Path, tested: SeedRuns) -> None:
    """Check that test predictions are of the weights in a checkpoint folder.

    Raises:
        UserError: they are of others.
    """
    if tested.weights and tested.weights != (sha256(model / WEIGHTS),):
        raise UserError(
            f"{plan.folder / PREDICTIONS}: is of other weights than {model}; go on with --resume "
            f"{plan.name}, which tests again"
        )
