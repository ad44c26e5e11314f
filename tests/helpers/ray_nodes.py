"""Real Ray nodes on the loopback addresses of one machine, as a cluster that somebody else started.

Run as a script, this file is that somebody: it starts a head, then one node for each line that it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

HEAD = "127.0.0.2"
#: Addresses of the nodes that carry trials.
NODES = ("127.0.0.3", "127.0.0.4")


class RayNodes:
    """A head that carries no trial, and nodes that do.

    They run as on a cluster: in another folder, without this process's environment, with Python and the
    packages that this project needs, but not the project. Processes are found by the folder in their
    command lines.

    Args:
        token: that they demand; empty: none.
    """

    def __init__(self, token: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="nodes-", dir="/tmp")  # Ray's sockets want a short name
        Path(self.folder, "ray").mkdir()
        # Not this environment's own Python, which may know the project from a .pth file.
        python = getattr(sys, "_base_executable", sys.executable)
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "RAY_TMPDIR": self.folder}
        if token:
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        self._process = subprocess.Popen(
            [python, __file__],
            cwd="/",
            env=environment | {"PYTHONPATH": sysconfig.get_path("purelib")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._answer()

    def start(self, host: str, *, cpus: int = 2, gpus: int = 0) -> None:
        """One more node, at another address of this machine."""
        assert self._process.stdin is not None
        node = {
            "node_ip_address": host,
            "num_cpus": cpus,
            "num_gpus": gpus,
            "object_store_memory": 80_000_000,
        }
        print(json.dumps(node), file=self._process.stdin, flush=True)
        self._answer()

    def kill(self, host: str) -> None:
        """SIGKILL to the node and to all its workers, as when its power is cut."""
        import psutil

        raylet = self._raylets()[host]
        for process in [raylet, *raylet.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def training(self) -> str | None:
        """The address of a node that trains; None: none does."""
        from benchmarks.speed.overhead import trial_workers

        return next((host for host, raylet in self._raylets().items() if trial_workers(raylet.pid)), None)

    def _raylets(self) -> dict[str, psutil.Process]:
        import psutil

        lines = [(process, process.info) for process in psutil.process_iter(["name", "cmdline"])]
        mine = [(process, info["cmdline"] or []) for process, info in lines if info["name"] == "raylet"]
        option = "--node_ip_address="
        return {
            part.removeprefix(option): process
            for process, line in mine
            if self.folder in " ".join(line)
            for part in line
            if part.startswith(option)
        }

    def close(self) -> None:
        """End them all; nothing stays."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for _ in range(50):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not Path(self.folder).exists():
                return
            time.sleep(0.1)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        assert line[:1] == ["ok"], line
        return line[1]


def _serve() -> None:
    from ray.cluster_utils import Cluster

    head = {"node_ip_address": HEAD, "num_cpus": 0, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"include_dashboard": False})
    print("ok", cluster.address, flush=True)
    for line in sys.stdin:
        cluster.add_node(**json.loads(line))
        print("ok", cluster.address, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
