"""Ends a search whose own Ray has lost one of its servers.

Without its GCS, Ray waits for it inside calls from Python, and ends the process from C++ after a minute,
without a word of the study; without its raylet it waits for workers for ever.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune

from rigsl.errors import UserError, error_line

#: Seconds between two looks at the servers; seconds in which this process must leave a Ray that has lost one.
LOOK_EVERY, PATIENCE = 1.0, 20.0


class ServerWatch(tune.Callback):  # type: ignore[misc]
    """Checks that the servers of a private Ray are alive; for a cluster there is nothing to check.

    Args:
        study: its name.
    """

    def __init__(self, study: str) -> None:
        self.study = study

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ray calls this several times a second."""
        self.check()

    def check(self) -> None:
        """Check them now.

        Raises:
            UserError: a server has ended; a resume continues the trials that were running.
        """
        if server := lost_server():
            raise self._error(server)

    def _error(self, server: str) -> UserError:
        return UserError(
            f"Ray's process {server} was killed or has crashed, so that no training can go on; continue with "
            f"--resume {self.study}"
        )

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Leave the block soon after a server is lost.

        Ray Tune does not wait for a GCS that makes and removes placement groups. What waits in another of
        Ray's calls is ended with the process, which costs no more than a kill: the record has every epoch.

        Raises:
            UserError: a server has ended already.
        """
        self.check()
        with self.watching() as watch, self._no_waiting_for_groups():
            watch()
            yield

    @contextlib.contextmanager
    def watching(self) -> Iterator[Callable[[], None]]:
        """A function after whose call the block must be left soon after a server is lost.

        What then waits in a call of Ray is ended with the process; Ray's own end can wait, too.
        """
        left = threading.Event()
        thread = threading.Thread(target=self._end_if_stuck, args=(left,), daemon=True)
        try:
            yield thread.start
        finally:
            left.set()

    def _end_if_stuck(self, left: threading.Event) -> None:
        while not left.wait(LOOK_EVERY):
            # Looked at again after the wait: Ray's own end makes its servers end, too.
            if lost_server() and not left.wait(PATIENCE) and (server := lost_server()):
                print(error_line(self._error(server)), file=sys.stderr, flush=True)
                _end_process()

    @contextlib.contextmanager
    def _no_waiting_for_groups(self) -> Iterator[None]:
        import ray.util

        groups: Any = importlib.import_module("ray.air.execution.resources.placement_group")
        manager = groups.PlacementGroupResourceManager
        request, remove = manager.request_resources, groups.remove_placement_group

        def request_checked(self_: Any, resource_request: Any) -> None:
            self.check()
            request(self_, resource_request)

        def remove_unless_lost(group: Any) -> None:
            if not lost_server():
                remove(group)

        manager.request_resources = request_checked
        groups.remove_placement_group = ray.util.remove_placement_group = remove_unless_lost
        try:
            yield
        finally:
            manager.request_resources = request
            groups.remove_placement_group = ray.util.remove_placement_group = remove


def _end_process() -> None:
    """End Ray's servers and this process, at once; the exit code is that of a `UserError`."""
    import ray

    try:
        ray._private.worker._global_node.kill_all_processes(check_alive=False, allow_graceful=False)
    finally:
        os._exit(2)


def lost_server() -> str:
    """The name of a server of this process's Ray that has ended; empty: none."""
    import ray

    node = ray._private.worker._global_node
    servers = {} if node is None else node.all_processes
    for name in ("gcs_server", "raylet"):
        if any(server.process.poll() is not None for server in servers.get(name, ())):
            return name
    return ""
