"""System metrics of a study: use of processors, memory, disk, network and every GPU.

MLflow's monitors are read every two seconds; their means over ten seconds become a line of ``system.jsonl``
and go to the tracker. MLflow's own sender is not used: its thread gives up for good at the first failed
request. On a cluster only the driver's machine is measured.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.run_folder import SYSTEM, check_present
from search.tracking.client import silence_mlflow

#: Seconds between two readings, and between two lines.
READ_SECONDS, LINE_SECONDS = 2.0, 10.0
#: MLflow's prefix for system metrics.
PREFIX = "system/"
#: "time" (seconds since 1970), "seconds" (of the study, over all its sessions), and metrics by MLflow's
#: names.
Line = dict[str, Any]


def read_system(folder: Path) -> list[Line]:
    """The lines of ``system.jsonl`` in the run folder, in order, without those that a kill cut off."""
    path = folder / SYSTEM
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return lines


def last_second(folder: Path) -> int:
    """The study's second of the last line; -1: there is no line."""
    return max((int(line["seconds"]) for line in read_system(folder)), default=-1)


class SystemMonitor:
    """A background thread that writes a line every ten seconds; its failures never end the study.

    Args:
        folder: the run folder.
        before: seconds that earlier sessions of the study used; above the last second in the file.
        on_line: called with every line.
    """

    def __init__(self, folder: Path, before: float, on_line: Callable[[Line], None]) -> None:
        self.folder, self.on_line = folder, on_line
        self._before, self._start = before, time.monotonic()
        self._last = -1
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        """Start measuring, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop measuring; a monitor that hangs is abandoned."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _work(self) -> None:
        if self._end.wait(READ_SECONDS):  # by now the tracker's thread has begun to import MLflow
            return
        monitors = make_monitors()
        due = time.monotonic() + LINE_SECONDS
        while not self._end.wait(READ_SECONDS):
            read_monitors(monitors)
            if time.monotonic() >= due:
                due += LINE_SECONDS
                self._write(take_means(monitors))

    def _write(self, values: dict[str, float]) -> None:
        # A kill can cost the record some seconds of its clock; still, no second may occur twice.
        second = max(int(self._before + time.monotonic() - self._start), self._last + 1)
        line = {"time": round(time.time(), 3), "seconds": second, **values}
        self._last = second
        try:
            check_present(self.folder)
            append_line(self.folder / SYSTEM, line)
        except OSError:  # a full disk does not end the search; MLflow has what the folder has
            return
        self.on_line(line)


def append_line(path: Path, line: Line) -> None:
    """Append a line in one write, on a line of its own even if a kill has left half a line before it."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        complete = size == 0 or file.read(1) == b"\n"
        file.write((b"" if complete else b"\n") + json.dumps(line).encode() + b"\n")


def make_monitors() -> list[Any]:
    """Those of MLflow's monitors that work on this machine."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    silence_mlflow()
    monitors = []
    for monitor_class in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor):
        with contextlib.suppress(Exception):  # no such device, driver or library
            monitors.append(monitor_class())
    read_monitors(monitors)
    for monitor in monitors:  # the first reading of the processors is their mean since the machine started
        monitor.clear_metrics()
    return monitors


def read_monitors(monitors: list[Any]) -> None:
    """Take one reading of each monitor; a monitor that fails keeps its earlier readings."""
    for monitor in monitors:
        with contextlib.suppress(Exception):
            monitor.collect_metrics()


def take_means(monitors: list[Any]) -> dict[str, float]:
    """MLflow's name -> mean of the readings since the last call; of the network, the total so far."""
    values: dict[str, float] = {}
    for monitor in monitors:
        with contextlib.suppress(Exception):
            values |= {
                PREFIX + name: round(float(value), 3) for name, value in monitor.aggregate_metrics().items()
            }
        monitor.clear_metrics()
    return values
