"""Addresses of MLflow: which are valid, and which file a SQLite one names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from rigsl.errors import UserError

SQLITE = "sqlite:///"
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
