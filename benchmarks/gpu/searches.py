"""Searches as a user runs them: the real command line, in a process and a folder of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from search.record.learning_curve import read_curve
from search.run_folder import ROOT, TRIALS

STUDY = "gpu"
#: Seconds that the workers of a killed search have to notice it.
GRACE = 20.0
#: Ray's helpers, which train nothing and take half a minute to notice it.
HELPERS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


class Search:
    """A running command, whose output goes to ``output.txt`` in its folder.

    Args:
        folder: in which it runs; runs/ and the MLflow database are made there.
        arguments: of Python: a script or ``-m`` and a module, and their arguments.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed, and other commands in the same folder before it."""
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; False: the time was over, or the command ended, before it was met."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                return False
            time.sleep(0.1)
        return True

    def wait(self, seconds: float) -> None:
        """Wait until it has ended well.

        Raises:
            RuntimeError: it has ended with another exit code, or not in time.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"a command was not done after {seconds:.0f} s: {self.last_line()}") from None
        if code:
            raise RuntimeError(f"a command ended with exit code {code}: {self.last_line()}")

    def kill(self) -> None:
        """SIGKILL to the command; its workers end by themselves, and what is left after a while is killed."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            children = []
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + GRACE
        while any(_runs(process, but=HELPERS) for process in children) and time.monotonic() < end:
            time.sleep(0.1)
        for process in filter(_runs, children):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def last_line(self) -> str:
        """The last line that it has printed."""
        return next(
            (line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "no output"
        )


def _runs(process: psutil.Process, but: Sequence[str] = ()) -> bool:
    """Whether a process, with none of these names, has not ended; an ended one stays a zombie until its new
    parent asks for it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.name() not in but)
    except psutil.Error:
        return False


@contextlib.contextmanager
def search(folder: Path, *arguments: str) -> Iterator[Search]:
    """A command that does not outlive the block."""
    command = Search(folder, *arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.kill()


def epochs(folder: Path) -> dict[int, int]:
    """Trial -> epochs that it has finished, in the study's run folder, while the study runs."""
    trials = (folder / "runs" / STUDY / TRIALS).glob("[0-9]*")
    found = {int(trial.name): len(read_curve(trial)) for trial in trials if trial.is_dir()}
    return {number: count for number, count in sorted(found.items()) if count}
