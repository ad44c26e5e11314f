"""What the user keeps: ``best/`` with weights, configuration, scores, and a script that trains it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from rigsl.config import from_toml
from rigsl.data.corpus import Corpus
from rigsl.device import threads
from rigsl.files import write_text
from rigsl.official.flags import official_command
from rigsl.training.checkpoint import CONFIG, load_checkpoint, save_checkpoint
from rigsl.training.evaluation import Evaluation, evaluate
from search.confirm.evaluation import read_predictions
from search.confirm.final_record import read_final_record
from search.confirm.predictions import recorded, scores_of
from search.confirm.stage import Chosen
from search.export import environment
from search.plan.plan import Plan
from search.record import lineage, record
from search.run_folder import BEST, METRICS, OFFICIAL, RERUN

PROTOCOL = "validation"  #: epochs and configurations are chosen on dev; test is opened once
_SCRIPT = """#!/bin/sh
# Trains this configuration again and compares its scores with the recorded ones.
# Set RIGSL_ROOT where this folder does not lie in runs/<study>/ of the project.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=${RIGSL_ROOT:-$(CDPATH= cd -- "$here/../../.." && pwd)}
if [ ! -f "$root/run_search.py" ]; then
    echo "error: $root holds no run_search.py; set RIGSL_ROOT to the folder of the project" >&2
    exit 2
fi
python=${PYTHON:-python}
if [ -z "${PYTHON:-}" ] && [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
exec "$python" "$root/run_search.py" --rerun "$here" "$@"
"""


@dataclass(frozen=True)
class Exported:
    """The result of a study, as it lies in `folder`."""

    folder: Path
    metrics: dict[str, Any]  #: the content of metrics.json

    @property
    def validation(self) -> dict[str, float]:
        """Scores on dev, on which everything was chosen."""
        return dict(self.metrics["validation"])

    @property
    def test(self) -> dict[str, Any]:
        """Scores on test, looked at once."""
        return dict(self.metrics["test"])


def export(plan: Plan, study: optuna.Study, chosen: Chosen, ending: str) -> Exported:
    """Write ``best/``: the checkpoint that the final stage chose, with its scores on dev and on test.

    The scores on test are those of the predictions that were made when test was opened.
    """
    folder = plan.folder / BEST
    tested = read_predictions(plan.folder)["winner"]
    test = scores_of(tested.one(tested.seeds.index(chosen.seed)))[0]
    validation = validation_scores(chosen.model, plan)
    _copy_model(chosen, folder)
    metrics = _metrics(plan, study, chosen, ending) | {
        "lineage": [_described(stage) for stage in chosen.lineage[:-1]],
        "validation": {name: validation[name] for name in ("weighted_f1", "macro_f1", "accuracy")},
        "test": dataclasses.asdict(test),
        "test_seeds": len(tested.seeds),
        "openings": [vars(opening) for opening in read_final_record(plan.folder).openings],
    }
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    write_text(folder / RERUN, _SCRIPT)
    (folder / RERUN).chmod(0o755)
    write_text(folder / OFFICIAL, _official(folder, plan.space.dataset, chosen.lineage))
    return Exported(folder, metrics)


def validation_scores(checkpoint: Path, plan: Plan) -> dict[str, Any]:
    """The scores of trained weights on dev, with the threads of the search."""
    device = plan.workers.device
    with threads(plan.workers.cpus):
        found = evaluate(load_checkpoint(checkpoint, device=device), plan.corpus, "dev", device=device)
    return named_scores(found, plan.corpus, "dev")


def named_scores(found: Evaluation, corpus: Corpus, split: str) -> dict[str, Any]:
    """Weighted and macro F1, accuracy, and the F1 of every class, of predictions on a whole split."""
    return dataclasses.asdict(scores_of(recorded(corpus, split, {0: found}))[0])


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a folder's metrics.json; empty where there is none."""
    path = folder / METRICS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _metrics(plan: Plan, study: optuna.Study, chosen: Chosen, ending: str) -> dict[str, Any]:
    counts = {name: count for name, count in record.counts(study).items() if name != "running"}
    return {
        "study": plan.name,
        "dataset": plan.space.dataset,
        "features": plan.features,
        "corpus": plan.corpus.name,
        "corpus_hash": plan.corpus.content_hash(),
        "protocol": PROTOCOL,
        "seed": chosen.seed,
        "commit": environment.commit(),
        "trial": chosen.trial,
        "trial_complete": chosen.whole,
        "trials": counts,
        "ending": ending,
        "epochs": chosen.epochs,
        "best_epoch": chosen.best_epoch,
        # What its training reported; validation is scored again from the weights.
        "recorded_weighted_f1": chosen.score,
        "search_weighted_f1": chosen.search_score,
        "machine": environment.machine(plan.workers.device, plan.workers.cpus),
        "versions": environment.versions(),
    }


def _described(stage: lineage.Stage) -> dict[str, Any]:
    """What the training began with before the exported configuration took over."""
    return {"trial": stage.number, "config": stage.config.to_dict(), "until_epoch": stage.until}


def _copy_model(chosen: Chosen, folder: Path) -> None:
    """The checkpoint; a training that was cut short has as many epochs in its configuration as it had."""
    model = load_checkpoint(chosen.model)
    model.config = model.config.replace(epochs=chosen.epochs)
    save_checkpoint(folder, model)


def _official(folder: Path, dataset: str, stages: Sequence[lineage.Stage]) -> str:
    """The official command line, and what it cannot say."""
    text = official_command(from_toml(folder / CONFIG), dataset) + "\n"
    if len(stages) > 1:
        before = stages[-2].until
        text = f"# not in the official code: other values up to epoch {before} (lineage in {METRICS})\n{text}"
    return text
