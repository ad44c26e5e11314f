"""Ends a search whose own Ray has lost one of its servers.

Without its GCS, Ray waits for it inside calls from Python, and ends the process from C++ after a minute,
without a word of the study; without its raylet it waits for workers for ever.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from ray import tune

from rigsl.errors import UserError


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
            raise UserError(
                f"Ray's process {server} was killed or has crashed, so that no training can go on; continue "
                f"with --resume {self.study}"
            )

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Let Ray Tune not wait for a lost GCS, which makes and removes placement groups."""
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


def lost_server() -> str:
    """The name of a server of this process's Ray that has ended; empty: none."""
    import ray

    node = ray._private.worker._global_node
    servers = {} if node is None else node.all_processes
    for name in ("gcs_server", "raylet"):
        if any(server.process.poll() is not None for server in servers.get(name, ())):
            return name
    return ""
