"""The connection to MLflow: environment variables, client, experiment, and its errors in words."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.errors import first_line
from search.plan.addresses import SQLITE, database
from search.record import lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Tag of an experiment: MLflow's page opens on its runs, not on traces of language models.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
#: Timeout of a request (seconds) while a search runs.
TIMEOUT = 10


def configure_mlflow_env(timeout: int = TIMEOUT) -> None:
    """Set the environment variables that MLflow reads at every request, except those that the user has set.

    MLflow would retry a request by itself, up to seven times and over minutes. If the answer to the
    creation of a run is late, such a retry creates the run twice; so only the writer retries.
    """
    for name, value in {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines whenever a run on a server ends
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }.items():
        os.environ.setdefault(name, value)


def silence_mlflow() -> None:
    """Keep MLflow's loggers off the terminal; to be called after its import, which sets their levels."""
    for name in ("mlflow", "alembic", "urllib3", *logging.root.manager.loggerDict):
        if name.split(".")[0] in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def connect(uri: str, dataset: str) -> tuple[MlflowClient, str]:
    """A client for the MLflow at `uri`, and the id of the experiment ``rigsl-<dataset>`` in it.

    MLflow creates a database without a lock: two searches that start together would break each other's
    migration. So a SQLite file is opened under a lock file beside it.
    """
    from mlflow import MlflowClient

    silence_mlflow()
    local = uri.startswith(SQLITE)
    path = database(uri)
    with lock.hold(path.with_name(path.name + ".lock")) if local else contextlib.nullcontext():
        client = MlflowClient(tracking_uri=uri)
        name = f"rigsl-{dataset.lower()}"
        # Without a location, artifacts would land in the working directory of whoever writes them.
        root = None if uri.startswith(("http", "databricks")) else path.parent if local else Path.cwd()
        location = None if root is None else (root / "mlruns" / name).as_uri()
        experiment_id = _experiment(client, name, location)
    silence_mlflow()
    return client, experiment_id


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """The id of the experiment `name`, created if it does not exist."""
    for attempt in range(3):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage != "active":
            raise RuntimeError(
                f"its experiment {name} was deleted; restore it with mlflow experiments restore"
            )
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_KIND))
        except Exception:  # another search has just created it
            if attempt == 2:
                raise
            time.sleep(0.2)
    raise AssertionError


def is_refusal(error: Exception) -> bool:
    """Whether a retry is useless: MLflow refused the request itself (a deleted run, an invalid value)."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    return error.get_http_status_code() in range(400, 500) and error.error_code not in (
        "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED",
        "PERMISSION_DENIED", "ENDPOINT_NOT_FOUND",
    )  # fmt: skip


def describe_error(error: Exception) -> str:
    """An error of MLflow as a predicate of its address: "does not answer"."""
    text = str(error).strip()
    if "timed out" in text or "timeout" in text.lower():
        return "does not answer"
    if "Connection refused" in text:
        return "refuses the connection"
    if code := re.search(r"too many (\d+) error responses|failed with error code (\d+)", text):
        return f"answers with error {code[1] or code[2]}"
    return f"does not take the runs ({first_line(error, length=200)})"
