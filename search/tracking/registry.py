"""Registers a study's best checkpoint in MLflow's model registry, ready for `mlflow models predict`.

A version contains the checkpoint folder and the package `rigsl`, so it loads where this project is missing.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rigsl
from rigsl.data.corpus import Corpus
from rigsl.errors import first_line
from rigsl.files import sha256
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import WEIGHTS, load_checkpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

ALIAS = "best"
#: Tag of a version: SHA-256 of its weights; so the same model is not registered twice.
_DIGEST = "weights_sha256"
#: What loading and predicting import; the other dependencies of this project are not installed on a server.
_PACKAGES = (
    "mlflow", "numpy", "pandas", "safetensors", "scikit-learn", "sparsemax", "tomli_w", "torch"
)  # fmt: skip


@dataclass(frozen=True)
class Registration:
    """The result of a registration: the version that the alias points to, or why there is none."""

    name: str  #: rigsl-<dataset>
    version: str = ""
    problem: str = ""  #: one sentence; empty: it succeeded

    @property
    def uri(self) -> str:
        """The model's address in MLflow."""
        return f"models:/{self.name}@{ALIAS}"


def register_best(
    client: MlflowClient,
    run_id: str,
    folder: Path,
    corpus: Corpus,
    dataset: str,
    tags: Mapping[str, str] | None = None,
) -> Registration:
    """Register the checkpoint in `folder` as ``rigsl-<dataset>`` and move the alias `best` to it.

    A checkpoint that has a version already does not get a second one. Nothing is raised: an MLflow that has
    no registry or does not answer must not end a search.

    Args:
        client: of the MLflow that contains the run; its registry is used.
        run_id: the run that the model belongs to.
        folder: the checkpoint.
        corpus: what the model was trained on; one dialogue of it becomes the input example.
        dataset: names the model.
        tags: of the version, such as study and trial.
    """
    name = f"rigsl-{dataset.lower()}"
    try:
        return Registration(name, _register(client, run_id, Path(folder), corpus, name, dict(tags or {})))
    except Exception as error:  # of MLflow, of its database, of the network, of the disk
        reason = first_line(error, length=200)
        return Registration(name, problem=f"the model {name} could not be registered in MLflow ({reason})")


def _register(
    client: MlflowClient, run_id: str, folder: Path, corpus: Corpus, name: str, tags: dict[str, str]
) -> str:
    """Create the version, unless it exists, and return its number."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # it exists already, or the next call fails with the reason
        client.create_registered_model(name)
    digest = sha256(folder / WEIGHTS)
    existing = client.search_model_versions(f"name = '{name}' and tags.{_DIGEST} = '{digest}'")
    if existing:
        version = str(existing[0].version)
    else:
        model_id, location = _log(client, run_id, folder, corpus, name)
        created = client.create_model_version(
            name, location, run_id=run_id, model_id=model_id, tags=tags | {_DIGEST: digest}
        )
        version = str(created.version)
    client.set_registered_model_alias(name, ALIAS, version)
    return version


def _log(client: MlflowClient, run_id: str, folder: Path, corpus: Corpus, name: str) -> tuple[str, str]:
    """Log the model with its run; returns the model's id and the location of its files.

    Not by `mlflow.pyfunc.log_model`: that uses the tracking address and the active run of the process, and
    the driver has neither.
    """
    from mlflow.entities import LoggedModelOutput

    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, name=name, source_run_id=run_id)
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model"
            _save(path, folder, corpus, model_id=logged.model_id, run_id=run_id)
            client.log_model_artifacts(logged.model_id, str(path))
        client.log_outputs(run_id, models=[LoggedModelOutput(logged.model_id, step=0)])
        status = "READY"
    finally:
        client.finalize_logged_model(logged.model_id, status)
    return str(logged.model_id), str(logged.artifact_location)


def _save(path: Path, folder: Path, corpus: Corpus, **ids: str) -> None:
    """Write the model in MLflow's format."""
    import mlflow.pyfunc
    from mlflow.models import Model

    from rigsl.inference.served import table_of

    model = load_checkpoint(folder)
    shortest = np.argsort(corpus.lengths)[:1]
    mlflow.pyfunc.save_model(
        path=str(path),
        mlflow_model=Model(**ids),
        loader_module="rigsl.inference.served",
        data_path=str(folder),
        code_paths=[str(Path(rigsl.__file__).parent)],
        signature=_signature(model),
        input_example=table_of(corpus, shortest, model.config.modals),
        pip_requirements=requirements(),
    )


def _signature(model: RIGSL) -> ModelSignature:
    """Names and types of the columns that go in and come out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    from rigsl.inference.served import FEATURES

    columns: list[Any] = [
        ColSpec(DataType.string, "dialogue"),
        ColSpec(DataType.long, "utterance"),
        ColSpec(DataType.long, "speaker"),
    ]
    vectors = [ColSpec(Array(DataType.double), FEATURES[letter]) for letter in model.config.modals]
    classes = [ColSpec(DataType.float, name) for name in model.schema.classes]
    return ModelSignature(inputs=Schema(columns + vectors), outputs=Schema(classes))


def requirements() -> list[str]:
    """The packages that a server needs, pinned to the versions of this environment."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return [f"{name}=={version.split('+')[0]}" for name, version in versions.items()]
