"""A real MLflow server of a test's own, which can be stopped, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.helpers.loopback import free_port, get_json


class MLflowServer:
    """An MLflow server with one worker, on a database and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = folder / "server.db"
        self.command = [
            *(str(Path(sys.executable).with_name("mlflow")), "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self.database}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        log = subprocess.DEVNULL
        self._process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def start_if_down(self) -> None:
        """Have it running and answering."""
        if self._process is None:
            self.start()
        self.wait()

    def wait(self) -> None:
        get_json(f"{self.uri}/api/2.0/mlflow/experiments/get?experiment_id=0")

    def signal(self, number: int) -> None:
        """To the server and its worker."""
        assert self._process is not None
        os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()
            self._process = None

    def end(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
