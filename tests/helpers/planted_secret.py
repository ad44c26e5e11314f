"""A password to be found: addresses that carry it, wrong ones too, and a look at every byte of a folder."""

from __future__ import annotations

from pathlib import Path

SECRET = "Zq7planted"
#: Options that are refused, with the password where a mistake puts it.
WRONG = (
    ("--storage", f"postgresql://rigsl:{SECRET}@127.0.0.1:1/none"),
    ("--storage", f"postgresql://127.0.0.1:1/none?user=rigsl&password={SECRET}"),
    ("--storage", f"postgresql://127.0.0.1:1/none?sslpassword={SECRET}&user=rigsl"),
    ("--storage", f"postgresql://rigsl:{SECRET}@host:port/none"),
    ("--storage", f"nosql://rigsl:{SECRET}@host/none?passwd={SECRET}"),
    ("--storage", f"rigsl:{SECRET}@host/none"),
    ("--tracking-uri", f"ftp://user:{SECRET}@host"),
    ("--tracking-uri", f"user:{SECRET}@host:5000"),
    ("--tracking-uri", f"sqlite:///none/mlflow.db?password={SECRET}"),
    ("--ray-address", f"ray://user:{SECRET}@host:10001"),
)


def storage_of(home: Path) -> str:
    """The address of ``study.db`` in `home`, with a password that SQLite does not look at."""
    return f"sqlite:///file:{home}/study.db?uri=true&password={SECRET}"


def files_with_secret(folder: Path, secret: str = SECRET) -> list[str]:
    """The files below `folder` that have the password in their name or in their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        str(path.relative_to(folder))
        for path in files
        if secret in str(path) or secret.encode() in path.read_bytes()
    ]
