"""How MLflow is reached: address, manners, first use by several searches at once, experiment, errors."""

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

#: MLflow's page opens on the runs of such an experiment, not on traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
#: Seconds that a request may take while a search runs.
TIMEOUT = 10


def set_manners(timeout: int = TIMEOUT) -> None:
    """Set what MLflow reads from the environment at every request, unless the user did.

    MLflow would repeat a request by itself, up to seven times and over minutes. A run whose creation is
    repeated because the answer was late is there twice, so every repetition is the writer's own.
    """
    for name, value in {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines at the end of every run of a server
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }.items():
        os.environ.setdefault(name, value)


def quiet() -> None:
    """Keep MLflow's loggers off the terminal; after its import, which sets their levels."""
    for name in ("mlflow", "alembic", "urllib3", *logging.root.manager.loggerDict):
        if name.split(".")[0] in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def connect(uri: str, dataset: str) -> tuple[MlflowClient, str]:
    """A client for the store at `uri`, and the id of the experiment ``rigsl-<dataset>`` in it.

    MLflow creates a database without a lock: two searches that start together would break each other's
    migration. So the first use of a SQLite file is made under a lock file beside it.
    """
    from mlflow import MlflowClient

    quiet()
    local = uri.startswith(SQLITE)
    path = database(uri)
    with lock.held(path.with_name(path.name + ".lock")) if local else contextlib.nullcontext():
        client = MlflowClient(tracking_uri=uri)
        name = f"rigsl-{dataset.lower()}"
        # Without a location, artifacts would land in the working directory of whoever writes them.
        root = None if uri.startswith(("http", "databricks")) else path.parent if local else Path.cwd()
        location = None if root is None else (root / "mlruns" / name).as_uri()
        found = client, _experiment(client, name, location)
    quiet()
    return found


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    for attempt in range(3):
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage != "active":
            raise RuntimeError(
                f"its experiment {name} was deleted; restore it with mlflow experiments restore"
            )
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=KIND))
        except Exception:  # another search was faster
            if attempt == 2:
                raise
            time.sleep(0.2)
    raise AssertionError


def is_refusal(error: Exception) -> bool:
    """Whether MLflow understood the request and will refuse it again: a run that was deleted, a bad value."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        return False
    return error.get_http_status_code() in range(400, 500) and error.error_code not in (
        "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED",
        "PERMISSION_DENIED", "ENDPOINT_NOT_FOUND",
    )  # fmt: skip


def in_words(error: Exception) -> str:
    """What an error of MLflow says about the server, to follow its address."""
    text = str(error).strip()
    if "timed out" in text or "timeout" in text.lower():
        return "does not answer"
    if "Connection refused" in text:
        return "refuses the connection"
    if code := re.search(r"too many (\d+) error responses|failed with error code (\d+)", text):
        return f"answers with error {code[1] or code[2]}"
    return f"does not take the runs ({first_line(error, length=200)})"
