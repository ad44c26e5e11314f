"""Listeners that interfere with a study at a certain event."""

from __future__ import annotations

import os
import signal


class Bystander:
    """A listener that does nothing; subclasses override the events that they wait for."""

    def started(self, trial, config, resumed) -> None:
        """Nothing."""

    def epoch(self, number, report) -> None:
        """Nothing."""

    def finished(self, trial, snapshot) -> None:
        """Nothing."""


class AtEpoch(Bystander):
    """Acts once: at epoch `epoch` of trial `number`, or at the first such event after it."""

    def __init__(self, number: int, epoch: int) -> None:
        self.number, self.at, self.acted = number, epoch, False

    def epoch(self, number, report) -> None:
        if not self.acted and number >= self.number and report.epoch >= self.at:
            self.acted = self.act()

    def act(self) -> bool:
        """Do it; False: it could not be done yet."""
        raise NotImplementedError


class Interrupter(AtEpoch):
    """Sends this process a signal, as a user or a batch system does."""

    def __init__(self, number: int, epoch: int, sent: signal.Signals) -> None:
        super().__init__(number, epoch)
        self.sent = sent

    def act(self) -> bool:
        os.kill(os.getpid(), self.sent)
        return True


class ServerKiller(AtEpoch):
    """Kills a server of this process's Ray."""

    def __init__(self, number: int, epoch: int, name: str) -> None:
        super().__init__(number, epoch)
        self.name = name

    def act(self) -> bool:
        return kill_server(self.name)


def kill_server(name: str) -> bool:
    """SIGKILL to a server of this process's Ray; False: there is none."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        if process.name() == name:
            process.kill()
            return True
    return False


class WorkerKiller(AtEpoch):
    """Kills a worker process, as the system does when memory runs out."""

    def act(self) -> bool:
        import psutil

        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or [])
            mine = any(parent.pid == os.getpid() for parent in process.parents())
            if title.startswith("ray::") and "TrialWorker" in title and mine:
                process.kill()
                return True
        return False
