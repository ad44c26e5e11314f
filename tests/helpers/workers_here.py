"""Ray Tune's own loop, with its workers in this process: a worker process costs four seconds of imports.

Placement groups, the object store, the loop and its schedulers are Ray's. Only the actors are not: each of
their methods runs at once, and its result is put into the object store, where the loop waits for it. This is
for tests of what a study decides, writes and exports. Tests of workers that are lost, share GPUs or run
concurrently need processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest


class _Method:
    """A method of an actor, called as Ray calls it."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """The reference of the result, which is there already."""
        import ray

        return ray.put(self._method(*args, **kwargs))


class _Actor:
    """The handle of an object in this process."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self._instance, name))


class _ActorClass:
    """An actor class whose instances stay in this process."""

    def __init__(self, remote_class: Any) -> None:
        self._class = remote_class.__ray_metadata__.modified_class

    def remote(self, **kwargs: Any) -> _Actor:
        """A new actor."""
        return _Actor(self._class(**kwargs))


def keep_workers_here(patch: pytest.MonkeyPatch) -> None:
    """Until `patch` is undone, the workers of a search live in this process."""
    from ray.air.execution.resources.request import AcquiredResources

    def annotated(acquired: AcquiredResources, classes: Sequence[Any]) -> list[_ActorClass]:
        return [_ActorClass(remote_class) for remote_class in classes]

    patch.setattr(AcquiredResources, "annotate_remote_entities", annotated)
