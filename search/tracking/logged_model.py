"""A model, or an average of models, in MLflow's format, logged with its run.

It contains the folder of the model and the package `rigsl`, so it loads where this project is missing.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rigsl
from rigsl.data.corpus import Corpus
from rigsl.inference.average import Average, is_average, load_model, modals_of
from rigsl.model.rigsl import RIGSL

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

#: What loading and predicting import; the other dependencies of this project are not installed on a server.
_PACKAGES = (
    "mlflow", "numpy", "pandas", "safetensors", "scikit-learn", "tomli_w", "torch", "torch-geometric"
)  # fmt: skip


def log_model(client: MlflowClient, run_id: str, folder: Path, corpus: Corpus, name: str) -> tuple[str, str]:
    """Log the model or average in `folder` with its run; returns the logged model's id and its files' place.

    Not by `mlflow.pyfunc.log_model`: that uses the tracking address and the active run of the process, and
    the driver has neither.
    """
    from mlflow.entities import LoggedModelOutput

    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, name=name, source_run_id=run_id)
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path, files = Path(scratch) / "model", Path(scratch) / folder.name
            _copy(folder, files)
            _save(path, files, corpus, model_id=logged.model_id, run_id=run_id)
            client.log_model_artifacts(logged.model_id, str(path))
        client.log_outputs(run_id, models=[LoggedModelOutput(logged.model_id, step=0)])
        status = "READY"
    finally:
        client.finalize_logged_model(logged.model_id, status)
    return str(logged.model_id), str(logged.artifact_location)


def _copy(folder: Path, files: Path) -> None:
    """Copy an average as a whole; of a checkpoint, the files only: ``best/`` has other models in folders."""
    if is_average(folder):
        shutil.copytree(folder, files)
        return
    files.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, files)


def _save(path: Path, folder: Path, corpus: Corpus, **ids: str) -> None:
    """Write the model in MLflow's format."""
    import mlflow.pyfunc
    from mlflow.models import Model

    from rigsl.inference.served import table_of

    model = load_model(folder)
    shortest = np.argsort(corpus.lengths)[:1]
    mlflow.pyfunc.save_model(
        path=str(path),
        mlflow_model=Model(**ids),
        loader_module="rigsl.inference.served",
        data_path=str(folder),
        code_paths=[str(Path(rigsl.__file__).parent)],
        signature=_signature(model),
        input_example=table_of(corpus, shortest, modals_of(model)),
        pip_requirements=requirements(),
    )


def _signature(model: RIGSL | Average) -> ModelSignature:
    """Names and types of the columns that go in and come out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    from rigsl.inference.served import feature_column

    columns: list[Any] = [
        ColSpec(DataType.string, "dialogue"),
        ColSpec(DataType.long, "utterance"),
        ColSpec(DataType.long, "speaker"),
    ]
    vectors = [ColSpec(Array(DataType.double), feature_column(key)) for key in modals_of(model)]
    classes = [ColSpec(DataType.float, name) for name in model.schema.classes]
    return ModelSignature(inputs=Schema(columns + vectors), outputs=Schema(classes))


def requirements() -> list[str]:
    """The packages that a server needs, pinned to the versions of this environment."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return [f"{name}=={version.split('+')[0]}" for name, version in versions.items()]
