"""Registers a study's best checkpoint in MLflow's model registry, ready for `mlflow models predict`.

There is one registered model for each corpus: its name has dataset and features. Every study adds a version
with an alias of its own for each of its answers; the aliases `best`, `taught` and `average` move only to a
version that is better on validation, or where the user says so.

MLflow sets an alias unconditionally: of two studies that end at the same moment, the worse one could read the
alias before the better one moves it, and move it after that. So every version says from its creation on which
alias it competes for, and from which version on others may compete with it. Whoever has moved an alias looks
at those versions once more, and moves it on to the best of them. The last one to move it sees them all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
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
    from mlflow.entities.model_registry import ModelVersion

BEST = "best"  #: the alias of the configuration's version with the highest validation score
#: The other answers: their folders in ``best/`` are the aliases of their best versions, too.
OTHERS = (TAUGHT, AVERAGE)
#: Tag of a version: `model_digest`; so the same model is not registered twice.
_DIGEST = "weights_sha256"
#: Tags of a version: what its score was measured on. Scores are compared only where these are equal.
_MEASURED_ON = {"corpus_hash": "another content of the corpus", "protocol": "another protocol"}
_SCORE = "validation_weighted_f1"  #: tag of a version: its score, by which `best` is chosen
_ANSWER = "answer"  #: tag of a version: the alias that it competes for
#: Tag of a version while it is being registered: the first of the versions that it competes with.
_SINCE = "registering_since"
#: Milliseconds after which a version is no longer being registered: its study was killed.
_LOST_AFTER = 24 * 3600 * 1000
#: As often as an alias is moved by one registration; each time to a better version.
_MOST_MOVES = 100


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
        version = _version(client, run_id, folder, corpus, name, tags | {_ANSWER: answer})
        alias = study_alias(metrics["study"]) + ("" if answer == BEST else f"-{answer}")
        client.set_registered_model_alias(name, alias, version)
        if promote:
            _promote(client, name, version, tags, answer)
        remark = "" if promote else _move_alias(client, name, version, tags, answer)
        if _SINCE in client.get_model_version(name, version).tags:
            client.delete_model_version_tag(name, version, _SINCE)
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
    tags = tags | {_DIGEST: digest, _SINCE: str(_since(_versions(client, name)))}
    created = client.create_model_version(name, location, run_id=run_id, model_id=model_id, tags=tags)
    return str(created.version)


def _versions(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    """All versions of a model by their numbers, which count up in the order of their creation."""
    found: dict[int, ModelVersion] = {}
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found |= {int(version.version): version for version in page}
        if not (token := page.token):
            return found


def _since(versions: Mapping[int, ModelVersion]) -> int:
    """The first of the versions that a new one competes with.

    These are all from now on, and those that are being registered with all that these compete with: one of
    them may have read the alias before, and move it at any moment.
    """
    earliest = 1000 * time.time() - _LOST_AFTER
    registering = [
        int(version.tags[_SINCE])
        for version in versions.values()
        if _SINCE in version.tags and version.creation_timestamp > earliest
    ]
    return min([*registering, max(versions, default=0) + 1])


def _promote(client: MlflowClient, name: str, version: str, tags: Mapping[str, str], alias: str) -> None:
    """Move `alias` to `version`; the versions that are better do not compete for it any more."""
    for number, other in _versions(client, name).items():
        if other.tags.get(_ANSWER) == alias and not _reason_to_stay(tags, other.tags):
            client.delete_model_version_tag(name, str(number), _ANSWER)
    client.set_registered_model_alias(name, alias, version)


def _move_alias(client: MlflowClient, name: str, version: str, tags: Mapping[str, str], alias: str) -> str:
    """Move `alias` to the best of `version`, the one that has it, and those that are registered meanwhile.

    The test score plays no part: choosing by it would make it optimistic.

    Returns:
        The sentence why another version than `version` has the alias; empty if it has.
    """
    for _ in range(_MOST_MOVES):
        held = client.get_registered_model(name).aliases.get(alias)
        versions = _versions(client, name)
        own = versions[int(version)]
        if held is None:
            client.set_registered_model_alias(name, alias, version)
            continue
        best = versions.get(int(held)) or client.get_model_version(name, str(held))
        since = int(own.tags.get(_SINCE, max(versions) + 1))
        recent = [one for number, one in versions.items() if number >= since]
        rivals = [one for one in recent if one.tags.get(_ANSWER) == alias]
        better = [one for one in (own, *rivals) if not _reason_to_stay(best.tags, one.tags)]
        if better:
            client.set_registered_model_alias(name, alias, max(better, key=_score).version)
        elif int(held) == int(version):
            return ""
        else:
            of_study = f" (study {best.tags['study']})" if "study" in best.tags else ""
            return f"version {held}{of_study} stays {alias}: {_reason_to_stay(best.tags, tags)}"
    raise RuntimeError(f"its alias {alias} moves again and again")


def _score(version: ModelVersion) -> float:
    return float(version.tags[_SCORE])


def _reason_to_stay(best: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Why the version with the tags `new` does not take the place of `best`; empty: its score is higher."""
    if _SCORE not in best or _SCORE not in new:
        return "its validation score is not recorded, so that the two cannot be compared"
    for tag, difference in _MEASURED_ON.items():
        if best.get(tag) != new.get(tag):
            return f"its score was measured on {difference}, so that the two cannot be compared"
    theirs, ours = float(best[_SCORE]), float(new[_SCORE])
    if ours > theirs:
        return ""
    return f"its validation weighted F1 is {percent(theirs)}, that of this version {percent(ours)}"
