"""Registers a study's best checkpoint in MLflow's model registry, ready for `mlflow models predict`.

There is one registered model for each corpus: its name has dataset and features. Every study adds a version
with an alias of its own for each of its answers; the aliases `best`, `taught` and `average` move only to a
version that is better on validation, or where the user says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigsl.data.corpus import Corpus
from rigsl.errors import first_line
from rigsl.inference.average import model_digest
from rigsl.wording import percent
from search.export.best import ExportedModel, read_metrics
from search.run_folder import AVERAGE, METRICS, TAUGHT
from search.tracking.logged_model import log_model

if TYPE_CHECKING:
    from mlflow import MlflowClient

BEST = "best"  #: the alias of the configuration's version with the highest validation score
#: The other answers: their folders in ``best/`` are the aliases of their best versions, too.
OTHERS = (TAUGHT, AVERAGE)
#: Tag of a version: `model_digest`; so the same model is not registered twice.
_DIGEST = "weights_sha256"
#: Tags of a version: what its score was measured on. Scores are compared only where these are equal.
_MEASURED_ON = {"corpus_hash": "another content of the corpus", "protocol": "another protocol"}
_SCORE = "validation_weighted_f1"  #: tag of a version: its score, by which `best` is chosen


@dataclass(frozen=True)
class Registration:
    """The result of a registration: the new version, or why there is none."""

    name: str  #: rigsl-<dataset>-<features>
    version: str = ""
    alias: str = BEST  #: of the version: `best`, or that of its study
    remark: str = ""  #: one sentence: which version stays `best` and why; empty: this one is it
    problem: str = ""  #: one sentence; empty: it succeeded
    others: tuple[Registration, ...] = ()  #: of the other answers

    @property
    def uri(self) -> str:
        """The model's address in MLflow."""
        return f"models:/{self.name}@{self.alias}"


def register_best(
    client: MlflowClient, run_id: str, exported: ExportedModel, corpus: Corpus, *, promote: bool = False
) -> Registration:
    """Register the exported checkpoint; it becomes `best` if no better version of this corpus is.

    The other answers beside it become `taught` and `average` likewise: each alias has scores of its own. A
    model that has a version already does not get a second one. Nothing is raised: an MLflow that has
    no registry or does not answer must not end a search.

    Args:
        client: of the MLflow that contains the run; its registry is used.
        run_id: the run that the model belongs to.
        exported: the checkpoint and its scores.
        corpus: what the model was trained on; one dialogue of it becomes the input example.
        promote: whether the aliases move to this study's versions whatever their scores.
    """
    first = _register(client, run_id, exported.folder, exported.metrics, corpus, BEST, promote)
    folders = [(answer, exported.folder / answer) for answer in OTHERS]
    others = [
        _register(client, run_id, folder, read_metrics(folder), corpus, answer, promote)
        for answer, folder in folders
        if (folder / METRICS).is_file()
    ]
    problem = next((one.problem for one in (first, *others) if one.problem), "")
    return dataclasses.replace(first, problem=problem, others=tuple(others))


def _register(
    client: MlflowClient,
    run_id: str,
    folder: Path,
    metrics: Mapping[str, Any],
    corpus: Corpus,
    answer: str,
    promote: bool,
) -> Registration:
    """Register the model in `folder`; `answer`: the alias that it competes for."""
    name = f"rigsl-{metrics['dataset']}-{metrics['features']}".lower()
    try:
        tags = version_tags(metrics)
        version = _version(client, run_id, folder, corpus, name, tags)
        alias = study_alias(metrics["study"]) + ("" if answer == BEST else f"-{answer}")
        client.set_registered_model_alias(name, alias, version)
        if promote:
            client.set_registered_model_alias(name, answer, version)
        remark = "" if promote else _move_alias(client, name, version, tags, answer)
        return Registration(name, version, alias if remark else answer, remark)
    except Exception as error:  # of MLflow, of its database, of the network, of the disk
        reason = first_line(error, length=200)
        return Registration(name, problem=f"the model {name} could not be registered in MLflow ({reason})")


def version_tags(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a version, from the content of ``metrics.json``."""
    names = ("study", "trial", "seed", "test_seeds", "corpus", *_MEASURED_ON)
    scores = {_SCORE: metrics["validation"], "test_weighted_f1": metrics["test"]}
    return {name: str(metrics[name]) for name in names if name in metrics} | {
        name: repr(float(split["weighted_f1"])) for name, split in scores.items()
    }


def study_alias(study: str) -> str:
    """The alias of a study's version: its name, as far as MLflow takes it as an alias."""
    alias = study.replace(".", "-")
    reserved = alias.lower() in (BEST, *OTHERS, "latest") or re.fullmatch(r"[vV]\d+", alias)
    return f"study-{alias}" if reserved else alias


def _version(
    client: MlflowClient, run_id: str, folder: Path, corpus: Corpus, name: str, tags: dict[str, str]
) -> str:
    """The number of the version of the model in `folder`, which is created unless it exists."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # it exists already, or the next call fails with the reason
        client.create_registered_model(name)
    digest = model_digest(folder)
    existing = client.search_model_versions(f"name = '{name}' and tags.{_DIGEST} = '{digest}'")
    if existing:
        return str(existing[0].version)
    model_id, location = log_model(client, run_id, folder, corpus, name)
    created = client.create_model_version(
        name, location, run_id=run_id, model_id=model_id, tags=tags | {_DIGEST: digest}
    )
    return str(created.version)


def _move_alias(client: MlflowClient, name: str, version: str, tags: Mapping[str, str], alias: str) -> str:
    """Move `alias` to `version` unless it must stay; returns the sentence why it stays, empty if it does not.

    The test score plays no part: choosing by it would make it optimistic.
    """
    number = client.get_registered_model(name).aliases.get(alias)
    if number is not None and str(number) != version:
        best = client.get_model_version(name, str(number)).tags
        if reason := _reason_to_stay(best, tags):
            of_study = f" (study {best['study']})" if "study" in best else ""
            return f"version {number}{of_study} stays {alias}: {reason}"
    client.set_registered_model_alias(name, alias, version)
    return ""


def _reason_to_stay(best: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Why the version with the tags `new` does not take the place of `best`; empty: its score is higher."""
    if _SCORE not in best:
        return "its validation score is not recorded, so that the two cannot be compared"
    for tag, difference in _MEASURED_ON.items():
        if best.get(tag) != new[tag]:
            return f"its score was measured on {difference}, so that the two cannot be compared"
    theirs, ours = float(best[_SCORE]), float(new[_SCORE])
    if ours > theirs:
        return ""
    return f"its validation weighted F1 is {percent(theirs)}, that of this version {percent(ours)}"
