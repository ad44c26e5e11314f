"""Passwords leave addresses and messages, and nothing else does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rigsl.errors import UserError, first_line
from rigsl.redaction import redacted

ADDRESSES = {
    "postgresql://rigsl:SECRET@host/db": "postgresql://rigsl@host/db",
    "postgresql+psycopg://u:SECRET@h:5432/db?a=1": "postgresql+psycopg://u@h:5432/db?a=1",
    "postgresql://u:SE@CRET@h/db": "postgresql://u@h/db",
    "postgresql://u:12/34SECRET@h/db": "postgresql://u@h/db",
    "postgresql://u@h/db?password=SECRET": "postgresql://u@h/db",
    "postgresql://u@h/db?password=SECRET&a=1": "postgresql://u@h/db?a=1",
    "postgresql://u@h/db?a=1&sslpassword=SECRET&b=2": "postgresql://u@h/db?a=1&b=2",
    "postgresql://u:SECRET@h/db?sslmode=require&PASSWORD=SECRET": "postgresql://u@h/db?sslmode=require",
    "mysql://u@h/db?a=1&passwd=SECRET": "mysql://u@h/db?a=1",
    "mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3DSECRET%3BA%3Db": (
        "mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3D***%3BA%3Db"
    ),
    "sqlite+pysqlcipher://:SECRET@/file.db": "sqlite+pysqlcipher:///file.db",
    "http://user:SECRET@h:5000/": "http://h:5000/",
    "http://:SECRET@h": "http://h",
    "http://u:SE/CRET@h": "http://h",
    "https://SECRET@h:5000/api": "https://h:5000/api",
    "http://h/?a=1&sig=SECRET": "http://h/?a=1",
    "http://h/?X-Amz-Signature=SECRET&a=1": "http://h/?a=1",
    "http://h/?auth=SECRET": "http://h/",
    "postgresql://u@h/db?pass=SECRET": "postgresql://u@h/db",
    "u:SECRET@h/db": "u@h/db",
    "postgresql:/u:SECRET@h": "postgresql:/u@h",
}
MESSAGES = (
    "API request to http://user:SECRET@127.0.0.1:9/api/2.0 failed with exception HTTPConnectionPool(port=9)",
    "--storage u:SECRET@h/db: is not an address",
    "connect(host=h, password='SECRET SECRET', user=x)",
    'invalid dsn "host=h password=SECRET user=x"',
    "{'host': 'h', 'password': 'SECRET', 'a': 1}",
    '{"token": "SECRET"}',
    "Authorization: Bearer SECRETSECRET",
    "azure_account_key=SECRET",
    "two: http://a:SECRET@h and mysql://b:SECRET@h?passwd=SECRET",
)
HARMLESS = (
    "sqlite:///study.db",
    "sqlite:////data/a:b@c/study.db",
    "sqlite:///file:/data/study.db?uri=true&timeout=10",
    "postgresql://u@h:5432/db?sslmode=require&passfile=/home/u/.pgpass",
    "http://h:5000/base@team",
    "http://host:5000 and mail a@b",
    "http://host/a@b?author=me&compass=north",
    "http://[::1",
    "databricks://profile",
    'password authentication failed for user "u"',
    "space.toml: [space.lr] low: 1e-4 is not below high: 1e-5; epochs = 3",
    "the folder /home/a@b/c:d is full",
    "",
)


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items())
def test_an_address_stays_one_without_its_password(address: str, expected: str) -> None:
    assert redacted(address) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_has_no_password(message: str) -> None:
    assert "SECRET" not in redacted(message)
    assert redacted(redacted(message)) == redacted(message)
    assert "SECRET" not in str(UserError(message))
    assert "SECRET" not in first_line(RuntimeError(message), length=60)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_has_no_password_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_long_password_is_not_cut_in_two() -> None:
    assert "SECRET" not in first_line(ValueError(f"{'x' * 20} http://u:{20 * 'SECRET'}@h"), length=50)


@pytest.mark.parametrize("place", ["raise error", "t = threading.Thread(target=fail); t.start(); t.join()"])
def test_a_traceback_has_no_password(place: str) -> None:
    script = f"""
import threading
from rigsl.redaction import redact_tracebacks
redact_tracebacks()
error = RuntimeError("cannot reach " + "http://u:" + "SEC" + "RET@h")
def fail():
    raise error
{place}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "RuntimeError: cannot reach http://h" in done.stderr
    assert "SECRET" not in done.stderr
