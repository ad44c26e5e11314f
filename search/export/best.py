"""Export the result of a study: ``best/`` with weights, configuration, scores and a rerun script."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from rigsl.config import from_toml
from rigsl.data.corpus import Corpus
from rigsl.data.open.emotions import labels_seen
from rigsl.device import threads
from rigsl.files import permissions, read_json, sha256
from rigsl.official.flags import official_command
from rigsl.training.checkpoint import CONFIG, WEIGHTS, load_checkpoint, save_checkpoint
from rigsl.training.evaluation import evaluate
from search.command_lines import in_project
from search.confirm.answers import answers_in_numbers
from search.confirm.evaluation import read_predictions
from search.confirm.final_record import read_final_record
from search.confirm.predictions import scores_of, split_scores
from search.confirm.stage import ChosenCheckpoint
from search.export import environment
from search.export.others import OVERALL, check_tested, export_others
from search.plan.plan import Plan
from search.record import lineage, record
from search.record.states import RUNNING
from search.resources.workers import DRIVER_DEVICE, Workers
from search.run_folder import BEST, METRICS, OFFICIAL, RERUN, ROOT, STUDY, check_present, write_file

PROTOCOL = "validation"  #: epochs and configurations are chosen on dev; test is opened once
_SCRIPT = """#!/bin/sh
# Trains this configuration again and compares its scores with the recorded ones.
# RIGSL_ROOT names the folder of the project where that has moved.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=%s
if [ -n "${RIGSL_ROOT:-}" ]; then root=$RIGSL_ROOT; fi
if [ ! -f "$root/run_search.py" ]; then
    echo "error: $root holds no run_search.py; set RIGSL_ROOT to the folder of the project" >&2
    exit 2
fi
python=${PYTHON:-python}
if [ -z "${PYTHON:-}" ] && [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
exec "$python" "$root/run_search.py" --rerun "$here" "$@"
"""


@dataclass(frozen=True)
class ExportedModel:
    """The exported result of a study: the checkpoint in `folder` and its scores."""

    folder: Path
    metrics: dict[str, Any]  #: the content of metrics.json

    @property
    def validation(self) -> dict[str, float]:
        """Scores on dev, on which everything was chosen."""
        return dict(self.metrics["validation"])

    @property
    def test(self) -> dict[str, Any]:
        """Scores on test; the split is opened once per finished study."""
        return dict(self.metrics["test"])


def export_best(plan: Plan, study: optuna.Study, chosen: ChosenCheckpoint, ending: str) -> ExportedModel:
    """Write ``best/``: the checkpoint that the final stage chose, with its scores on dev and on test.

    The test scores are computed from the predictions that were recorded when the test split was opened.

    Args:
        plan: of the study.
        study: its open record.
        chosen: the checkpoint that the final stage chose.
        ending: why the search ended, in words.
    """
    check_present(plan.folder / STUDY)
    folder = plan.folder / BEST
    predictions = read_predictions(plan.folder)["winner"]
    tested = predictions.one(predictions.seeds.index(chosen.seed))
    check_tested(plan, chosen.model, tested)
    test = scores_of(tested)[0]
    validation = validation_scores(chosen.model, plan.corpus, plan.workers)
    _copy_model(chosen, folder)
    final = read_final_record(plan.folder)
    assert final.test is not None
    metrics = _metrics(plan, study, chosen, ending)
    export_others(plan, chosen, folder, metrics)
    metrics |= {
        "weights_sha256": sha256(folder / WEIGHTS),
        "lineage": [_stage_record(stage) for stage in chosen.lineage[:-1]],
        "validation": {name: validation[name] for name in OVERALL},
        "test": dataclasses.asdict(test),
        "test_seeds": len(predictions.seeds),
        "answers": answers_in_numbers(final.test),
        "openings": [vars(opening) for opening in final.openings],
    }
    if chosen.fold is not None:
        assert plan.trials_folds is not None
        metrics |= {"validated_fold": chosen.fold, "folds": plan.trials_folds.tolist()}
    write_file(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    write_file(folder / RERUN, _SCRIPT % _root(plan.folder.parent))
    mode = permissions(folder / RERUN)
    (folder / RERUN).chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
    write_file(folder / OFFICIAL, _official_text(folder, plan.space.dataset, chosen.lineage))
    return ExportedModel(folder, metrics)


def _root(runs: Path) -> str:
    """The folder of the project, as a word of the script; relative to ``best/`` if that is in it."""
    return '$(CDPATH= cd -- "$here/../../.." && pwd)' if in_project(runs) else shlex.quote(str(ROOT))


def validation_scores(checkpoint: Path, corpus: Corpus, workers: Workers) -> dict[str, Any]:
    """The scores of a checkpoint on dev, on the CPU with the threads of a trial."""
    with threads(workers.cpus):
        model = load_checkpoint(checkpoint, device=DRIVER_DEVICE)
        evaluation = evaluate(model, corpus, "dev", device=DRIVER_DEVICE)
    return split_scores(evaluation, corpus, "dev")


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of ``metrics.json`` in `folder`; empty if there is no such file."""
    return read_json(folder / METRICS, dict) or {}


def _metrics(plan: Plan, study: optuna.Study, chosen: ChosenCheckpoint, ending: str) -> dict[str, Any]:
    counts = {name: count for name, count in record.counts(study).items() if name != RUNNING}
    return {
        "study": plan.name,
        "dataset": plan.space.dataset,
        "features": plan.features,
        "corpus": plan.corpus.name,
        "corpus_hash": plan.corpus.content_hash(),
        "labels_in_features": labels_seen(plan.corpus),
        "protocol": PROTOCOL,
        "seed": chosen.seed,
        "commit": environment.commit(),
        "trial": chosen.trial,
        "trial_complete": chosen.whole,
        "trials": counts,
        "ending": ending,
        "epochs": chosen.epochs,
        "best_epoch": chosen.best_epoch,
        # As its training reported it; "validation" is computed again from the weights.
        "recorded_weighted_f1": chosen.score,
        "search_weighted_f1": chosen.search_score,
        "machine": environment.machine(plan.workers.device, plan.workers.cpus),
        "evaluated_on": DRIVER_DEVICE,
        "versions": environment.versions(),
    }


def _stage_record(stage: lineage.Stage) -> dict[str, Any]:
    """A configuration under which the training ran before it took over the exported one (PBT)."""
    return {"trial": stage.number, "config": stage.config.to_dict(), "until_epoch": stage.until}


def _copy_model(chosen: ChosenCheckpoint, folder: Path) -> None:
    """Save the checkpoint; `epochs` of its configuration becomes the number of epochs that it was trained."""
    model = load_checkpoint(chosen.model)
    model.config = model.config.replace(epochs=chosen.epochs)
    save_checkpoint(folder, model, parents=False)


def _official_text(folder: Path, dataset: str, stages: Sequence[lineage.Stage]) -> str:
    """The official command line, after comment lines on what it cannot express."""
    text = official_command(from_toml(folder / CONFIG), dataset) + "\n"
    if len(stages) > 1:
        last_epoch = stages[-2].until
        what = f"other values up to epoch {last_epoch} (lineage in {METRICS})"
        text = f"# not in the official code: {what}\n{text}"
    return text
