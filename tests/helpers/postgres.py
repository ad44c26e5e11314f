"""A PostgreSQL server of a test's own: in a temporary folder, on loopback, gone after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs; None where there is no server."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = installed[-1] if installed else shutil.which("initdb")
    return Path(path).resolve().parent if path else None


class Postgres:
    """A server that can be stopped and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = programs()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # PostgreSQL refuses to run as root; its Debian package comes with a user of its own.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.url = f"postgresql://rigsl@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self.bin / program), *arguments],
            user=self.user,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    def create(self) -> None:
        self.run("initdb", "-D", "data", "-U", "rigsl", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        """To the server and to the processes of its connections."""
        import psutil

        postmaster = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        for process in (postmaster, *postmaster.children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server."""
    with tempfile.TemporaryDirectory(prefix="rigsl-pg-") as name:
        server = Postgres(Path(name))
        if server.user:
            shutil.chown(name, server.user)
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop()
