"""What the machine does while a study runs: processors, memory, disk, network, every GPU.

MLflow's own monitors look every two seconds; their means of ten seconds are a line of ``system.jsonl`` and
go to the tracker. MLflow would send them itself, from a thread that gives up for good at the first failed
request. On a cluster this is the machine of the driver.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.run_folder import SYSTEM
from search.tracking.client import quiet

#: Seconds between two looks at the machine, and between two lines.
LOOK, EVERY = 2.0, 10.0
#: MLflow's name for what belongs to the machine.
PREFIX = "system/"
#: A line: "time" (seconds since 1970), "seconds" (of the study, over all its runs), and MLflow's names.
Line = dict[str, Any]


def read_system(folder: Path) -> list[Line]:
    """The lines in the run folder `folder`, in order; what a kill cut off is left out."""
    path = folder / SYSTEM
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return lines


def last_second(folder: Path) -> int:
    """The study's second of the last line; -1 where there is none."""
    return max((int(line["seconds"]) for line in read_system(folder)), default=-1)


class Sampler:
    """A thread that writes a line every ten seconds; whatever fails in it, the study goes on.

    Args:
        folder: the run folder.
        before: seconds that the study has used in earlier runs; later than every line that is there.
        hear: is given every line.
    """

    def __init__(self, folder: Path, before: float, hear: Callable[[Line], None]) -> None:
        self.folder, self.hear = folder, hear
        self._before, self._start = before, time.monotonic()
        self._last = -1
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End; a monitor that hangs is left behind."""
        self._end.set()
        self._thread.join(1.0)

    def _work(self) -> None:
        if self._end.wait(LOOK):  # by now the tracker's thread has begun to import MLflow
            return
        monitors = make_monitors()
        due = time.monotonic() + EVERY
        while not self._end.wait(LOOK):
            look(monitors)
            if time.monotonic() >= due:
                due += EVERY
                self._write(means(monitors))

    def _write(self, values: dict[str, float]) -> None:
        # A kill can cost the record some seconds of its clock; here no second may come twice.
        second = max(int(self._before + time.monotonic() - self._start), self._last + 1)
        line = {"time": round(time.time(), 3), "seconds": second, **values}
        self._last = second
        with contextlib.suppress(OSError):  # a full disk is not the search's end
            append(self.folder / SYSTEM, line)
        self.hear(line)


def append(path: Path, line: Line) -> None:
    """Add a line in one piece, behind whatever half line a kill has left."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        whole = size == 0 or file.read(1) == b"\n"
        file.write((b"" if whole else b"\n") + json.dumps(line).encode() + b"\n")


def make_monitors() -> list[Any]:
    """MLflow's monitors, as many of them as work here."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    quiet()
    monitors = []
    for make in (CPUMonitor, DiskMonitor, NetworkMonitor, GPUMonitor, ROCMMonitor):
        with contextlib.suppress(Exception):  # no such device, no driver, no library
            monitors.append(make())
    look(monitors)
    for monitor in monitors:  # the first load of the processors is that since the start of the machine
        monitor.clear_metrics()
    return monitors


def look(monitors: list[Any]) -> None:
    """One look of each monitor; one that fails keeps what it had seen by then."""
    for monitor in monitors:
        with contextlib.suppress(Exception):
            monitor.collect_metrics()


def means(monitors: list[Any]) -> dict[str, float]:
    """MLflow's name -> mean of the looks since the last call; of the network the total since the start."""
    found: dict[str, float] = {}
    for monitor in monitors:
        with contextlib.suppress(Exception):
            found |= {
                PREFIX + name: round(float(value), 3) for name, value in monitor.aggregate_metrics().items()
            }
        monitor.clear_metrics()
    return found
