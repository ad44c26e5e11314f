"""One life of a driver: it is started, meets its events, and ends."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.speed.overhead import is_trial_worker, trial_workers
from search.run_folder import ROOT
from tests.chaos.driver import STAGES, START
from tests.chaos.events import LOSES_WORKER, Event
from tests.chaos.zygote import Fork, worker_forks
from tests.helpers.mlflow_server import MLflowServer
from tests.helpers.postgres import Postgres
from tests.helpers.ray_nodes import NODES, RayNodes
from tests.helpers.small_disk import SmallDisk

#: Seconds after which a driver hangs: without a sign of life, and after an event that ends it.
SILENCE, ENDING = 240.0, 90.0
#: Exit codes of a driver that a signal has ended in good order.
CODES = {"SIGINT": 130, "SIGINT twice": 130, "SIGTERM": 143, "SIGHUP": 129}
#: Events after which a driver that has met them ends with code -9, whatever it does.
KILLS = ("driver SIGKILL", "group SIGKILL")


class Process(Protocol):
    """A driver, forked or started."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""


@dataclass
class Ground:
    """Where a campaign takes place."""

    folder: Path  #: of its files, and of the fork server
    disk: SmallDisk | None  #: of run folders and SQLite databases; None: nothing can be mounted here
    server: MLflowServer
    database: Postgres | None
    _nodes: RayNodes | None = None

    @property
    def nodes(self) -> RayNodes:
        """A cluster with two nodes that carry trials; it is started when it is needed."""
        if self._nodes is None:
            self._nodes = RayNodes()
            for host in NODES:
                self._nodes.start(host)
        return self._nodes

    def end_nodes(self) -> None:
        """End the cluster, if there is one."""
        if self._nodes is not None:
            self._nodes.close()
            self._nodes = None

    @property
    def home(self) -> Path:
        """The working directory of the study."""
        return self.folder / "home"

    @property
    def stores(self) -> Path:
        """The folder of SQLite databases."""
        return self.home if self.disk is None else self.disk.share


@dataclass
class Past:
    """What a life was."""

    code: int = 0
    happened: list[tuple[str, str, str]] = field(default_factory=list)  #: kind, stage, point
    points: Counter[str] = field(default_factory=Counter)  #: by stage
    problems: list[str] = field(default_factory=list)
    output: str = ""
    stage: str = START


class Life:
    """One run of ``run_search.py``.

    Args:
        ground: where.
        arguments: of the command line.
        events: in their order.
        check: called after every event that the driver survives; returns what is wrong.
        rng: decides how the driver's output is read.
        forked: whether the driver is a fork; else it is started with an interpreter of its own.
    """

    def __init__(
        self,
        ground: Ground,
        arguments: Sequence[str],
        events: Sequence[Event],
        check: Callable[[], list[str]],
        rng: random.Random,
        *,
        forked: bool = True,
    ) -> None:
        self.ground, self.events, self.check, self.past = ground, deque(events), check, Past()
        self._due: tuple[float, Event, str] | None = None  #: when, and at which point it was due
        self._undo: list[tuple[float, Callable[[], object]]] = []  #: when, what
        self._limit = SILENCE
        self._begin(arguments, rng, forked)

    def run(self) -> Past:
        """Live."""
        heard = time.monotonic()
        while self.process.poll() is None:
            ready, _, _ = select.select(self._open(), [], [], 0.02)
            if self._output in ready:
                self._read()
            if self._control in ready:
                heard = time.monotonic()
                self._point()
            self._act_when_due()
            self._undo_when_due()
            if time.monotonic() - heard > self._limit:
                self.past.problems.append(f"no sign of life for {self._limit:.0f} seconds; killed")
                os.kill(self.process.pid, signal.SIGKILL)
                self._limit = SILENCE
        self._end()
        return self.past

    # Begin and end

    def _begin(self, arguments: Sequence[str], rng: random.Random, forked: bool) -> None:
        names = {event.kind.name for event in self.events}
        gone = "terminal gone" in names
        way = rng.choice(("pipe", "terminal")) if gone else "file"
        self._log = self.ground.folder / "output.txt"
        self._log.unlink(missing_ok=True)
        self._output: int | None
        if way == "terminal":
            self._output, theirs = pty.openpty()
        elif way == "pipe":
            self._output, theirs = os.pipe()
        else:
            self._output, theirs = None, os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._control, their_end = socket.socketpair()
        stdin = theirs if way == "terminal" else os.open(os.devnull, os.O_RDONLY)
        streams = [stdin, theirs, theirs, their_end.fileno()]
        self.process: Process = self._start(arguments, streams, forked)
        their_end.close()
        for descriptor in {stdin, theirs}:
            os.close(descriptor)
        self._points = self._control.makefile("r")
        self._servers: set[psutil.Process] = set()

    def _start(self, arguments: Sequence[str], streams: list[int], forked: bool) -> Process:
        variables = {"PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
        environment = os.environ | variables
        if forked:
            return Fork(self.ground.folder, arguments, environment, self.ground.home, streams)
        command = [sys.executable, "-m", "tests.chaos.driver", str(streams[3]), *arguments]
        return subprocess.Popen(
            command, cwd=self.ground.home, env=environment, start_new_session=True,
            stdin=streams[0], stdout=streams[1], stderr=streams[2], pass_fds=[streams[3]],
        )  # fmt: skip

    def _end(self) -> None:
        self._undo_all()
        while self._output is not None and select.select([self._output], [], [], 0)[0]:
            self._read()
        self._close_output()
        self._control.close()
        self.past.code = self.process.poll() or 0
        self.past.happened = met(self.past.happened, self.past.code)
        self.past.output = (
            self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        )
        _, alive = psutil.wait_procs(self._servers, timeout=30)
        for server in alive:
            with contextlib.suppress(psutil.Error):
                self.past.problems.append(f"{server.name()} lives on without its driver")
                server.kill()

    # The driver's words

    def _open(self) -> list[int | socket.socket]:
        return [source for source in (self._control, self._output) if source is not None]

    def _read(self) -> None:
        assert self._output is not None
        try:
            data = os.read(self._output, 1 << 16)
        except OSError:  # a terminal that nobody has open any more
            data = b""
        if not data:
            self._close_output()
        with self._log.open("ab") as log:
            log.write(data)

    def _close_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None

    def _point(self) -> None:
        line: list[str] = []
        with contextlib.suppress(OSError):
            line = self._points.readline().split(maxsplit=2)
        if len(line) < 3:
            time.sleep(0.02)  # it has ended, or is about to
            return
        number, self.past.stage, point = line
        self.past.points[self.past.stage] += 1
        answer = "go"
        if self.events and self._due is None and self._reached(self.events[0]):
            event = self.events.popleft()
            if self.past.stage in event.kind.stages and not self._lost_before(event):
                self._due = (time.monotonic() + event.delay, event, point.strip())
                if event.kind.name == "clock step":
                    answer = f"clock {round(3600 * 100 * (event.seconds - 0.3))}"
                if event.delay == 0:
                    self._act_when_due()
        with contextlib.suppress(OSError):
            self._control.sendall(f"{number} {answer}\n".encode())

    def _lost_before(self, event: Event) -> bool:
        """Whether a training could lose its worker a second time, and would rightly end as failed."""
        stages = {stage for kind, stage, _ in self.past.happened if kind in LOSES_WORKER}
        return event.kind.name in LOSES_WORKER and self.past.stage in stages

    def _reached(self, event: Event) -> bool:
        stage, planned = STAGES.index(self.past.stage), STAGES.index(event.stage)
        return stage > planned or (stage == planned and self.past.points[event.stage] >= event.index)

    # Events

    def _act_when_due(self) -> None:
        if self._due is None or time.monotonic() < self._due[0]:
            return
        _, event, point = self._due
        self._due = None
        stage = self.past.stage
        if not self._act(event):  # such as a worker, where there is none at the moment
            self.events.appendleft(event)
            return
        self.past.happened.append((event.kind.name, stage, point))
        if event.kind.ends:
            self.events.clear()
            self._limit = ENDING
        elif not self._undo:
            self.past.problems += self.check()

    def _act(self, event: Event) -> bool:
        """Let it happen; whether there was what it hits."""
        victim, _, action = event.kind.name.partition(" ")
        self._servers |= self._ray_servers()
        if victim in ("driver", "group"):
            return self._signal_driver(victim, action, event.seconds)
        if victim in ("worker", "raylet", "GCS"):
            return self._signal_ray(victim, action, event.seconds)
        if victim == "disk":
            self._disturb_disk(event)
        elif victim == "node":
            self._lose_node(event.seconds)
        elif victim == "terminal":
            self._close_output()
        elif victim == "MLflow":
            self._disturb_server(action.removeprefix("server "), event.seconds)
        elif victim == "database":
            self._disturb_database(action, event.seconds)
        return True

    def _signal_driver(self, victim: str, action: str, seconds: float) -> bool:
        number = signal.Signals[action.removesuffix(" twice")]
        with contextlib.suppress(ProcessLookupError):
            if victim == "group":
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)
            if action.endswith("twice"):
                self._later(seconds, lambda: _send(self.process.pid, number))
            if number == signal.SIGSTOP:
                time.sleep(seconds)
                os.kill(self.process.pid, signal.SIGCONT)
        return True

    def _signal_ray(self, victim: str, action: str, seconds: float) -> bool:
        victims = self._workers() if victim == "worker" else self._ray_servers(victim)
        number = signal.Signals[action]
        for process in [*victims][:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
                if number == signal.SIGSTOP:
                    self._later(seconds, partial(_send, process.pid, signal.SIGCONT))
        return bool(victims)

    def _disturb_disk(self, event: Event) -> None:
        disk = self.ground.disk
        assert disk is not None
        action = event.kind.name.removeprefix("disk ").removesuffix(" for a moment")
        self._undo_all()
        begin, end = {
            "full": (disk.fill, disk.make_room),
            "read-only": (disk.make_read_only, disk.make_writable),
            "away": (disk.take_away, disk.bring_back),
        }[action]
        begin()
        self._later(10.0 if event.kind.ends else event.seconds, end)

    def _lose_node(self, seconds: float) -> None:
        """The one that trains, or another one; it comes back."""
        self._undo_all()
        nodes = self.ground.nodes
        host = nodes.training() or NODES[0]
        nodes.kill(host)
        self._later(seconds, partial(nodes.start, host))

    def _disturb_server(self, action: str, seconds: float) -> None:
        self._undo_all()
        server = self.ground.server
        server.signal(signal.Signals[action])
        again = server.start if action == "SIGKILL" else lambda: server.signal(signal.SIGCONT)
        self._later(2 * seconds, again)

    def _disturb_database(self, action: str, seconds: float) -> None:
        self._undo_all()
        database = self.ground.database
        assert database is not None
        if action == "stopped":
            database.stop()
            self._later(seconds, database.start)
        else:
            database.signal(signal.SIGSTOP)
            self._later(seconds, lambda: database.signal(signal.SIGCONT))

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self._undo.append((time.monotonic() + seconds, action))

    def _undo_all(self) -> None:
        """What was taken away comes back, before anything else is."""
        while self._undo:
            self._undo.pop(0)[1]()

    def _undo_when_due(self) -> None:
        for item in [item for item in self._undo if time.monotonic() >= item[0]]:
            self._undo.remove(item)
            item[1]()

    # Processes

    def _ray_servers(self, victim: str = "") -> set[psutil.Process]:
        names = {"raylet": {"raylet"}, "GCS": {"gcs_server"}}.get(victim, {"raylet", "gcs_server"})
        with contextlib.suppress(psutil.NoSuchProcess):
            return {
                child
                for child in psutil.Process(self.process.pid).children(recursive=True)
                if child.name() in names
            }
        return set()

    def _workers(self) -> list[psutil.Process]:
        """The processes that train."""
        raylets = {server.pid for server in self._ray_servers("raylet")}
        found = trial_workers(self.process.pid)
        for pid, raylet in worker_forks(self.ground.folder).items():
            with contextlib.suppress(psutil.Error):
                if raylet in raylets and is_trial_worker(process := psutil.Process(pid)):
                    found.append(process)
        return found


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def met(happened: Sequence[tuple[str, str, str]], code: int) -> list[tuple[str, str, str]]:
    """The events that the driver has met.

    A delayed SIGKILL may come when the driver has just ended by itself. The kernel tells: a process that
    ends by SIGKILL has code -9.

    Args:
        happened: kind, stage and point of each event.
        code: exit code of the driver.
    """
    return [event for event in happened if event[0] not in KILLS or code == -signal.SIGKILL]


def judge(past: Past, folder: Path, finished: bool) -> list[str]:
    """Whether the end of a life fits its last event: exit code and words.

    Args:
        past: the life.
        folder: of the study, which need not be there yet.
        finished: whether the study is finished.
    """
    kinds = [kind for kind, _, _ in past.happened]
    problems = []
    if "Traceback (most recent call last)" in past.output:
        problems.append("a traceback is printed")
    wanted = _codes(kinds, past.stage)
    if past.code not in wanted:
        problems.append(f"exit code {past.code}, not one of {sorted(wanted)}")
    if past.code == 0 and not finished:
        problems.append("exit code 0, but the study is not finished")
    ended_in_order = past.code > 0 and "terminal gone" not in kinds and folder.is_dir()
    how = "--status" if finished else "--resume"
    if ended_in_order and past.stage != START and how not in past.output and "--resume" not in past.output:
        problems.append("the end does not say how to go on")
    return problems


def _codes(kinds: Sequence[str], stage: str) -> set[int]:
    """The exit codes that a driver may end with after such events."""
    codes = {0}
    for kind in kinds:
        victim, _, action = kind.partition(" ")
        if kind in KILLS:
            return {-signal.SIGKILL}
        if action in CODES:
            codes.add(CODES[action])
            if stage == START:  # before it listens
                codes |= {-signal.Signals[action.removesuffix(" twice")]}
        elif kind == "terminal gone":
            codes |= {129, -signal.SIGHUP}
        elif victim in ("disk", "raylet", "GCS") and not action.endswith("SIGSTOP"):
            codes.add(2)
        if kind == "database stopped" and stage == START:  # who has just called it is told at once
            codes.add(2)
    return codes


def summary(past: Past) -> Mapping[str, object]:
    """What a report of a failure says of a life."""
    return {"code": past.code, "events": past.happened, "stage": past.stage}
