"""How MLflow is reached: the address, its first use by several searches at once, the experiment."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rigsl.errors import UserError
from search import lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
#: MLflow's page opens on the runs of such an experiment, not on traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")


def check_uri(uri: str) -> None:
    """Whether `uri` can be an MLflow tracking server or database.

    Raises:
        UserError: it cannot.
    """
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"--tracking-uri {uri}: is not an address like sqlite:///mlflow.db or http://host:5000"
        )
    if uri.startswith(SQLITE) and not database(uri).parent.is_dir():
        raise UserError(f"--tracking-uri {uri}: the folder {database(uri).parent} does not exist")


def database(uri: str) -> Path:
    """The file of a SQLite address; relative ones are relative to the working directory, as in MLflow."""
    return Path(uri.removeprefix(SQLITE)).resolve()


def connect(uri: str, dataset: str) -> tuple[MlflowClient, str]:
    """A client for the store at `uri`, and the id of the experiment ``rigsl-<dataset>`` in it.

    MLflow creates a database without a lock: two searches that start together would break each other's
    migration. So the first use of a SQLite file is made under a lock file beside it.
    """
    from mlflow import MlflowClient

    # After the import, which sets the levels of MLflow's loggers.
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("mlflow."):
            logging.getLogger(name).setLevel(logging.ERROR)
    local = uri.startswith(SQLITE)
    path = database(uri)
    with lock.held(path.with_name(path.name + ".lock")) if local else contextlib.nullcontext():
        client = MlflowClient(tracking_uri=uri)
        name = f"rigsl-{dataset.lower()}"
        # Without a location, artifacts would land in the working directory of whoever writes them.
        root = None if uri.startswith(("http", "databricks")) else path.parent if local else Path.cwd()
        location = None if root is None else (root / "mlruns" / name).as_uri()
        return client, _experiment(client, name, location)


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    for attempt in range(3):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=KIND))
        except Exception:  # another search was faster
            if attempt == 2:
                raise
            time.sleep(0.2)
    raise AssertionError
