"""Addresses of MLflow: which ones are valid, and the file of a SQLite address."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from rigsl.errors import UserError
from rigsl.redaction import redacted

SQLITE = "sqlite:///"
SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")


#: Address of a study for which the user gives none.
TRACKING = "sqlite:///mlflow.db"
#: MLflow's own variable of the environment.
VARIABLE = "MLFLOW_TRACKING_URI"


def new_tracking_uri(option: str | None) -> tuple[str, str]:
    """The address of MLflow for a new study, and a remark where it is neither the option's nor the default.

    Raises:
        UserError: it is not an address.
    """
    variable = os.environ.get(VARIABLE, "")
    if option is None and variable:
        check_uri(variable, VARIABLE)
        return variable, f"from {VARIABLE}"
    check_uri(option or TRACKING)
    return option or TRACKING, ""


def resumed_tracking_uri(option: str | None, stored: str) -> tuple[str, str]:
    """The address of MLflow for a study that is resumed: the study's own, where its runs are; and a remark.

    Raises:
        UserError: it is not an address.
    """
    uri, remark, variable = option or stored, "", os.environ.get(VARIABLE, "")
    if option is None and variable and redacted(variable) == stored:
        uri, remark = variable, f"from {VARIABLE}"  # with the password, which the study does not keep
    elif option is None and variable:
        remark = f"the study's, not that of {VARIABLE}; --tracking-uri changes it"
    check_uri(uri)
    return uri, remark


def check_uri(uri: str, source: str = "--tracking-uri") -> None:
    """Check that `uri`, which the user gave by `source`, is the address of a tracking server or database.

    Raises:
        UserError: it is not.
    """
    if not _is_address(uri):
        remedy = f"; unset {VARIABLE} or give --tracking-uri" if source == VARIABLE else ""
        raise UserError(
            f"{source} {uri}: is not an address like sqlite:///mlflow.db or http://host:5000{remedy}"
        )
    if uri.startswith(SQLITE) and database(uri).is_dir():
        raise UserError(f"--tracking-uri {uri}: names the folder {database(uri)}; name a file in it")
    if uri.startswith(SQLITE) and not database(uri).parent.is_dir():
        raise UserError(f"{source} {uri}: the folder {database(uri).parent} does not exist")


def _is_address(uri: str) -> bool:
    """Whether `uri` has a scheme of SCHEMES; the address of a server also a host, and a number as port."""
    try:
        address = urlsplit(uri)
        if address.scheme in ("http", "https"):
            return bool(address.hostname) and address.port != 0
    except ValueError:  # brackets without an IPv6 address in them, or a port that is no number
        return False
    return address.scheme.split("+")[0] in SCHEMES


def database(uri: str) -> Path:
    """The file of a SQLite address; a relative path starts at the working directory, as in MLflow."""
    return Path(uri.removeprefix(SQLITE)).resolve()
