"""A whole study with passwords in its addresses, on a real MLflow server: none is written or shown."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.run_folder import BEST, REPORT, STUDY
from tests.helpers.commands import search_command
from tests.helpers.mlflow_contents import runs_at
from tests.helpers.mlflow_server import MLflowServer
from tests.helpers.planted_secret import SECRET, WRONG, files_with_secret, storage_of

pytestmark = pytest.mark.soak


@pytest.fixture
def server(home: Path) -> Iterator[MLflowServer]:
    """Its database and its files are in `home`, where the password is looked for."""
    server = MLflowServer(home)
    server.start()
    server.wait()
    yield server
    server.end()


def test_a_whole_study_writes_and_shows_no_password(home: Path, server: MLflowServer) -> None:
    secret_uri = server.uri.replace("http://", f"http://user:{SECRET}@")
    stores = ("--storage", storage_of(home), "--tracking-uri", secret_uri)

    def call(code: int, *arguments: str) -> str:
        done = subprocess.run(search_command(*arguments), cwd=home, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        assert SECRET not in output
        return output

    search = ("--data-dir", "data", "--workers", "2", "--finalists", "1", "--finalist-seeds", "1")
    call(0, *search, "--space", "space.toml", "--trials", "3", "--study", "s", *stores)
    output = call(0, *search, "--resume", "s", "--trials", "5", *stores)
    assert server.uri in output
    assert "warning" not in output
    folder = home / "runs" / "s"
    assert (folder / REPORT).is_file()
    assert (folder / BEST).is_dir()
    assert f'"{server.uri}"' in (folder / STUDY).read_text()
    assert len(runs_at(server.uri)["trial"]) == 5
    call(0, "--status", "s", *stores[:2])
    call(0, "--report", "s", *stores[:2])
    call(0, "--sync", "s", "--data-dir", "data", *stores)
    server.signal(signal.SIGKILL)
    assert "refuses the connection" in call(1, "--sync", "s", *stores)
    for arguments in WRONG:
        call(2, "--data-dir", "data", "--space", "space.toml", "--trials", "1", *arguments)
    assert files_with_secret(home) == []
