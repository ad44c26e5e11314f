"""What the user keeps: ``best/`` with weights, configuration, scores, and a script that trains it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.checkpoint import CONFIG, load_checkpoint, save_checkpoint
from rigsl.config import from_toml
from rigsl.data.corpus import Corpus
from rigsl.device import threads
from rigsl.evaluation import evaluate
from rigsl.files import write_text
from rigsl.official_flags import official_command
from search import environment, lineage, record
from search.plan import BEST, Plan
from search.trainable import MODEL

METRICS, RERUN, OFFICIAL = "metrics.json", "rerun.sh", "official_command.txt"
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


def export(plan: Plan, study: optuna.Study, ending: str) -> Exported | None:
    """Test the best trial's checkpoint and write ``best/``; None where no trial finished an epoch.

    A study that was resumed and kept its best trial keeps its test scores, too.
    """
    best = record.winner(study)
    if best is None:
        return None
    folder = plan.folder / BEST
    before = read_metrics(folder)
    tested = before.get("tested_trials", [])
    source = record.folder_of(plan.folder, best.number) / MODEL
    if before.get("trial") == best.number and before.get("config_hash") == best.user_attrs[record.HASH]:
        test = before["test"]
    else:
        test = final_test(source, plan.corpus, plan.workers.device, plan.workers.cpus)
        tested = [*tested, best.number]
    validation = checkpoint_scores(source, plan.corpus, "dev", plan.workers.device, plan.workers.cpus)
    stages = lineage.stages(study, plan.folder / "trials", best)
    _copy_model(source, folder, stages[-1].until)
    metrics = _metrics(plan, study, best, ending) | {
        "lineage": [_described(stage) for stage in stages[:-1]],
        "validation": {name: validation[name] for name in ("weighted_f1", "macro_f1", "accuracy")},
        "test": test,
        "tested_trials": tested,
    }
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    write_text(folder / RERUN, _SCRIPT)
    (folder / RERUN).chmod(0o755)
    write_text(folder / OFFICIAL, _official(folder, plan.space.dataset, stages))
    return Exported(folder, metrics)


def final_test(checkpoint: Path, corpus: Corpus, device: str, cores: int) -> dict[str, Any]:
    """Open the test split: the one place of the search that does, once for the study's best checkpoint."""
    return checkpoint_scores(checkpoint, corpus, "test", device, cores)


def checkpoint_scores(
    checkpoint: Path, corpus: Corpus, split: str, device: str, cores: int
) -> dict[str, Any]:
    """The scores of exported weights on a split, with the threads of the search."""
    with threads(cores):
        found = evaluate(load_checkpoint(checkpoint, device=device), corpus, split, device=device)
    return test_scores(found.log_prob, found.labels, corpus.classes)


def test_scores(log_prob: Any, labels: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    """Weighted and macro F1, accuracy, the F1 of every class. Shapes: log_prob [U, classes], labels [U]"""
    from sklearn.metrics import f1_score

    from rigsl.scores import scores

    total = scores(log_prob, labels, 0.0)
    numbers = list(range(len(classes)))
    single = f1_score(labels, log_prob.argmax(axis=1), labels=numbers, average=None, zero_division=0)
    return {
        "weighted_f1": total.weighted_f1,
        "macro_f1": total.macro_f1,
        "accuracy": total.accuracy,
        "f1": dict(zip(classes, map(float, single), strict=True)),
    }


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a folder's metrics.json; empty where there is none."""
    path = folder / METRICS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _metrics(plan: Plan, study: optuna.Study, best: FrozenTrial, ending: str) -> dict[str, Any]:
    counts = {name: count for name, count in record.counts(study).items() if name != "running"}
    return {
        "study": plan.name,
        "dataset": plan.space.dataset,
        "features": plan.features,
        "corpus": plan.corpus.name,
        "corpus_hash": plan.corpus.content_hash(),
        "protocol": PROTOCOL,
        "seed": plan.seed,
        "commit": environment.commit(),
        "trial": best.number,
        "trial_complete": best.state == TrialState.COMPLETE,
        "trials": counts,
        "ending": ending,
        "config_hash": best.user_attrs[record.HASH],
        "epochs": best.user_attrs["epochs"],
        "best_epoch": best.user_attrs["best_epoch"],
        "recorded_weighted_f1": record.score(
            best
        ),  # of the search; validation is scored again from the weights
        "machine": environment.machine(plan.workers.device, plan.workers.cpus),
        "versions": environment.versions(),
    }


def _described(stage: lineage.Stage) -> dict[str, Any]:
    """What the training began with before the exported configuration took over."""
    return {"trial": stage.number, "config": stage.config.to_dict(), "until_epoch": stage.until}


def _copy_model(source: Path, folder: Path, epochs: int) -> None:
    """The checkpoint; a training that was cut short has as many epochs in its configuration as it had."""
    model = load_checkpoint(source)
    model.config = model.config.replace(epochs=epochs)
    save_checkpoint(folder, model)


def _official(folder: Path, dataset: str, stages: list[lineage.Stage]) -> str:
    """The official command line, and what it cannot say."""
    text = official_command(from_toml(folder / CONFIG), dataset) + "\n"
    if len(stages) > 1:
        before = stages[-2].until
        text = f"# not in the official code: other values up to epoch {before} (lineage in {METRICS})\n{text}"
    return text
