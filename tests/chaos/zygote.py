"""A fork server: a process that has imported everything, and forks what a search starts.

A search, its workers and the agents of its Ray each take seconds of imports on a core. Here they are forks of
a process that has these imports. For Ray's processes, the driver's interpreter is a small program: it hands
its arguments, environment and streams to the fork server, and ends as the fork does. What a process does
after its start, and how it is connected to others, does not change.

Ray itself is not imported before the fork: its library reads the environment once, when it is loaded.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import json
import math
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOCKET, INTERPRETER = "forks", "python"
#: What driver and workers import besides Ray, and what they import late.
PRELOADED = (
    "run_search", "torch", "torch_geometric", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store", "pandas", "sklearn.metrics", "scipy.stats", "optuna",
    "plotly.io", "plotly.graph_objects", "matplotlib.pyplot", "aiohttp.web", "google.protobuf", "yaml",
    "jsonschema", "requests", "psutil", "pydantic", "rich.live", "fsspec", "pyarrow.fs", "pyarrow.dataset",
    "pyarrow.parquet", "filelock", "msgpack", "rigsl.training.trainer", "rigsl.training.checkpoint",
    "rigsl.memory.estimate", "rigsl.data.source", "search.plan.new_study", "search.plan.resume",
    "search.samplers.factory", "search.record.record", "search.report.write", "search.confirm.summary",
    "search.confirm.evaluation",
)  # fmt: skip
#: Ray's own scripts run in forks; two that only print or scale do nothing. The rest gets an interpreter.
_INTERPRETER = """#!{python} -IS
import array, json, os, signal, socket, sys
arguments = [part for part in sys.argv[1:] if part != "-u"]
if not (arguments and arguments[0].startswith({ray!r})):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
if arguments[0].endswith(("/log_monitor.py", "/autoscaler/_private/monitor.py")):
    signal.pause()
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    server.connect({socket!r})
except OSError:
    sys.exit(1)
request = {{"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}}
data = json.dumps(request).encode() + b"\\n"
sent = server.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
while sent < len(data):
    sent += server.send(data[sent:])
answers = server.makefile("r")
answers.readline()
status = int(answers.readline() or "9")
if os.WIFSIGNALED(status):
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(os.WEXITSTATUS(status))
"""


class Fork:
    """A driver that was forked for the holder of this object, in a session of its own.

    Args:
        folder: of the fork server.
        arguments: of ``run_search.py``.
        environment: its variables.
        cwd: its working directory.
        streams: descriptors of its standard input, output and error, and of its end of `Points`.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        streams: Sequence[int],
    ) -> None:
        request = {"arguments": [*arguments], "environment": dict(environment), "folder": str(cwd)}
        self._server = _ask(folder, request, streams)
        self._answers = self._server.makefile("r")
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""
        return self.wait(0)

    def wait(self, timeout: float) -> int | None:
        """Like `poll`, after at most `timeout` seconds."""
        if self.returncode is None and select.select([self._server], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._answers.readline() or "9"))
            self._server.close()
        return self.returncode


def worker_forks(folder: Path) -> dict[int, int]:
    """The running forks of Ray's agents and workers: process id -> that of their raylet."""
    with _ask(folder, {"list": True}, ()) as server, server.makefile("r") as answers:
        return {int(pid): int(raylet) for pid, raylet in json.loads(answers.readline()).items()}


def _ask(folder: Path, request: Mapping[str, Any], streams: Sequence[int]) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.connect(str(folder / SOCKET))
    data = json.dumps(request).encode() + b"\n"
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))] if streams else []
    if rest := data[server.sendmsg([data], rights) :]:
        server.sendall(rest)
    return server


@contextlib.contextmanager
def fork_server(folder: Path) -> Iterator[None]:
    """A running fork server in `folder`; it and its forks end with the block."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", str(folder)],
            env=os.environ | one_thread,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        if server.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the fork server did not start: {folder / 'server.log'}")
        yield
    finally:
        server.stdin.close()
        server.wait(60)


def serve(folder: Path) -> None:
    """Fork what is asked for at the socket in `folder`, until the standard input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    assert "ray" not in sys.modules
    gc.collect()
    gc.freeze()
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    where = {"python": sys.executable, "ray": str(Path(ray.origin).parent), "socket": str(folder / SOCKET)}
    (folder / INTERPRETER).write_text(_INTERPRETER.format(**where), encoding="utf-8")
    (folder / INTERPRETER).chmod(0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(folder / SOCKET))
        listening.listen(64)
        _Server(listening, folder).run()


class _Server:
    def __init__(self, listening: socket.socket, folder: Path) -> None:
        self.listening, self.folder = listening, folder
        self.children: dict[int, socket.socket] = {}  #: process id -> who waits for its end
        self.raylets: dict[int, int] = {}
        self.ended, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.wake)

    def run(self) -> None:
        print("ready", flush=True)
        while True:
            waiting = {connection: pid for pid, connection in self.children.items()}
            ready, _, _ = select.select([0, self.ended, self.listening, *waiting], [], [], 1.0)
            if 0 in ready:
                break
            if self.ended in ready:
                os.read(self.ended, 4096)
            for connection in set(ready) & set(waiting):  # nobody waits for it any more
                _kill(waiting[connection])
                self.children.pop(waiting[connection]).close()
            self._end_with_raylets()
            self._reap()
            if self.listening in ready:
                with contextlib.suppress(OSError):
                    self._answer(self.listening.accept()[0])
        for pid in [*self.children, *self.raylets]:
            _kill(pid)

    def _end_with_raylets(self) -> None:
        """Agents watch their parent, which here is this process."""
        for pid, raylet in self.raylets.items():
            if not Path(f"/proc/{raylet}").exists():
                _kill(pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                self.raylets.pop(pid, None)
                if (connection := self.children.pop(pid, None)) is not None:
                    with contextlib.suppress(OSError):
                        connection.sendall(f"{status}\n".encode())
                    connection.close()

    def _answer(self, connection: socket.socket) -> None:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 8)
        while data and not data.endswith(b"\n"):
            data += connection.recv(1 << 20)
        request = json.loads(data or b'{"list": true}')
        if "list" in request:
            connection.sendall(json.dumps(self.raylets).encode() + b"\n")
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(request, descriptors, connection)
        for descriptor in descriptors:
            os.close(descriptor)
        if raylet := request["environment"].get("RAY_RAYLET_PID"):
            self.raylets[pid] = int(raylet)
        self.children[pid] = connection
        connection.sendall(f"{pid}\n".encode())

    def _become(self, request: dict[str, Any], descriptors: list[int], connection: socket.socket) -> None:
        """The fork: it forgets the server and becomes what was asked for."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with the server
            os.setsid()
            for number, descriptor in enumerate(descriptors[:3]):
                os.dup2(descriptor, number)
                os.close(descriptor)
            if len(descriptors) > 3 and os.isatty(0):  # a driver in a terminal
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for other in (connection, self.listening, *self.children.values()):
                other.close()
            os.close(self.ended)
            os.close(self.wake)
            os.chdir(request["folder"])
            os.environ.clear()
            os.environ.update(request["environment"])
            random.seed()
            code = self._run(request["arguments"], descriptors[3:])
        except BaseException as error:
            code = _exit_code(error)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _run(self, arguments: list[str], descriptors: list[int]) -> int:
        if descriptors:
            from tests.chaos.driver import drive

            sys.executable = str(self.folder / INTERPRETER)
            return drive(arguments, descriptors[0])
        if arguments[0].endswith("setup_worker.py"):  # it only calls the script that follows
            arguments = [part for part in arguments[1:] if not part.startswith(("--serialized", "--lang"))]
        from ray._private import process_watcher

        process_watcher._PARENT_DEATH_THREASHOLD = math.inf  # see `_end_with_raylets`
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    traceback.print_exception(error)
    return 1


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
