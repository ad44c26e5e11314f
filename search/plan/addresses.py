"""Addresses of MLflow: which ones are valid, and the file of a SQLite address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from rigsl.errors import UserError

SQLITE = "sqlite:///"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")


def check_uri(uri: str) -> None:
    """Check that `uri` is the address of an MLflow tracking server or database.

    Raises:
        UserError: it is not.
    """
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in SCHEMES:
        raise UserError(
            f"--tracking-uri {uri}: is not an address like sqlite:///mlflow.db or http://host:5000"
        )
    if uri.startswith(SQLITE) and not database(uri).parent.is_dir():
        raise UserError(f"--tracking-uri {uri}: the folder {database(uri).parent} does not exist")


def database(uri: str) -> Path:
    """The file of a SQLite address; a relative path starts at the working directory, as in MLflow."""
    return Path(uri.removeprefix(SQLITE)).resolve()
