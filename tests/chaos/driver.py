"""A driver that says at many points of its way where it is, and goes on when it is told to.

So an event meets it exactly there, or a moment later. The points are the calls of `_CALLS`, before and after,
and every file that appears under its name (`os.replace`), in the main thread.
"""

from __future__ import annotations

import functools
import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

START, SEARCH, FINALS, EVALUATION, EXPORT, REPORT, END = STAGES = (
    "start", "search", "finals", "evaluation", "export", "report", "end"
)  # fmt: skip
#: (module, class or nothing, function, the stage that begins with it or nothing)
_CALLS = (
    ("search.study", "", "_create_folder", ""),
    ("search.study", "", "write_folder", ""),
    ("ray", "", "init", ""),
    ("search.study", "", "_search", SEARCH),
    ("search.execution.searcher", "StudySearcher", "suggest", ""),
    ("search.execution.searcher", "StudySearcher", "on_trial_result", ""),
    ("search.execution.searcher", "StudySearcher", "on_trial_complete", ""),
    ("search.execution.searcher", "StudySearcher", "end_running", ""),
    ("search.confirm.stage", "FinalStage", "run", FINALS),
    ("search.confirm.trainings", "JobSearcher", "suggest", ""),
    ("search.confirm.trainings", "JobSearcher", "on_trial_result", ""),
    ("search.confirm.trainings", "JobSearcher", "on_trial_complete", ""),
    ("search.confirm.stage", "FinalStage", "_record_finalists", EVALUATION),
    ("search.confirm.stage", "", "open_test", ""),
    ("search.confirm.evaluation", "", "_predictions", ""),
    ("search.confirm.evaluation", "", "_write_predictions", ""),
    ("search.confirm.stage", "FinalStage", "_update_record", ""),
    ("ray", "", "shutdown", ""),
    ("search.study", "", "export_best", EXPORT),
    ("search.study", "", "write_report", REPORT),
    ("search.study", "", "write_model_card", ""),
    ("search.study", "", "write_next_space", ""),
    ("search.confirm.stage", "FinalStage", "clean", END),
    ("search.tracking.tracker", "Tracker", "done", ""),
    ("search.tracking.tracker", "Tracker", "__exit__", ""),
    ("search.tracking.tracker", "Tracker", "register", ""),
)


class Points:
    """The driver's end of the control: it reports a point and waits for the answer.

    Args:
        descriptor: of a socket whose other end may be gone.
    """

    def __init__(self, descriptor: int) -> None:
        self.stage, self._number, self._inside = START, 0, False
        self._socket: socket.socket | None = socket.socket(fileno=descriptor)
        self._answers = self._socket.makefile("r")
        self._clock = 0.0

    def reach(self, name: str) -> None:
        """Report the point `name`, and do what the answer says: go on, or step the clock."""
        if self._inside or self._socket is None or threading.current_thread() is not threading.main_thread():
            return
        self._inside, self._number = True, self._number + 1
        try:
            self._socket.sendall(f"{self._number} {self.stage} {name}\n".encode())
            while (answer := self._answers.readline()) and int(answer.split()[0]) != self._number:
                pass
            if not answer:
                self._socket = None
            elif answer.split()[1] == "clock":
                self._step(float(answer.split()[2]))
        except OSError:
            self._socket = None
        finally:
            self._inside = False

    def _step(self, seconds: float) -> None:
        """As if somebody had set the clock: the wall clock of Python, not the monotonic one."""
        if not self._clock:
            real = time.time
            time.time = lambda: real() + self._clock
        self._clock += seconds

    def around(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """`function` with a point before and after it."""

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self.stage = stage or self.stage
            self.reach(f"before {function.__name__}")
            result = function(*arguments, **options)
            self.reach(f"after {function.__name__}")
            return result

        return call


def drive(arguments: list[str], descriptor: int) -> int:
    """Run ``run_search.py`` with these arguments; returns its exit code."""
    points = Points(descriptor)
    points.reach("begin")
    import run_search
    import search.study  # noqa: F401 (it sets Ray's variables before Ray is imported)

    for module, owner, name, stage in _CALLS:
        place = importlib.import_module(module)
        place = getattr(place, owner) if owner else place
        setattr(place, name, points.around(getattr(place, name), stage))
    os.replace = points.around(os.replace, "")
    return run_search.main(arguments)


if __name__ == "__main__":
    sys.exit(drive(sys.argv[2:], int(sys.argv[1])))
