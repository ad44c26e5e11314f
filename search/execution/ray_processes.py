"""The processes of a private Ray: those that a search needs, each prepared before there is a trial."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from search.execution import ray_agent

#: Methods of Ray's node, each of which starts a process that no search needs.
_NOT_NEEDED = ("start_api_server", "start_monitor", "start_log_monitor")


@contextlib.contextmanager
def needed_processes(workers: int) -> Iterator[None]:
    """Let `ray.init` start only the processes that a search needs: GCS, raylet and `workers` workers.

    Besides these Ray starts a dashboard (its web page is switched off, the process is not), a monitor for
    scaling a cluster, one that prints log files, two agents of the raylet, and a worker for every core. Each
    imports for about a second, and Ray waits for the dashboard, then for the agents, before its first worker
    starts (_private/services.py `start_api_server`, raylet/node_manager.cc `WaitForDashboardAgentPorts`). The
    agents are replaced by `ray_agent`; their ports are said to be -1, as where Ray is installed without them.
    """
    from ray._private import services
    from ray._private.node import Node

    start, start_raylet = services.start_ray_process, Node.start_raylet
    others = {name: getattr(Node, name) for name in _NOT_NEEDED}
    agent = subprocess.list2cmdline([sys.executable, "-I", "-S", ray_agent.__file__])
    options = {"--num_prestart_python_workers": str(workers)}
    without_agents = not has_runtime_environment()
    if without_agents:
        options |= {"--dashboard_agent_command": agent, "--runtime_env_agent_command": agent}

    def start_process(command: list[str], *arguments: Any, **named: Any) -> Any:
        parts = [(part, part.partition("=")[0]) for part in command]
        command = [f"{name}={options[name]}" if name in options else part for part, name in parts]
        return start(command, *arguments, **named)

    def start_raylet_at_once(node: Any, *arguments: Any, **named: Any) -> None:
        if without_agents:
            _announce_no_agents(node)
        start_raylet(node, *arguments, **named)

    for name in others:
        setattr(Node, name, lambda node, **options: None)
    services.start_ray_process, Node.start_raylet = start_process, start_raylet_at_once
    try:
        yield
    finally:
        services.start_ray_process, Node.start_raylet = start, start_raylet
        for name, method in others.items():
            setattr(Node, name, method)


def has_runtime_environment() -> bool:
    """Whether Ray makes an environment for its workers: in a job of a cluster, or by a hook of the user."""
    from ray._private import ray_constants
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    hooks = {RAY_JOB_CONFIG_JSON_ENV_VAR, ray_constants.RAY_RUNTIME_ENV_HOOK}
    return not hooks.isdisjoint(os.environ) or _is_copied_by_uv()


def _is_copied_by_uv() -> bool:
    """Whether Ray copies the environment of `uv run`. Where a program imports Ray before `search`, it is too
    late for the variable that switches this off (resources/environment.py)."""
    from ray._private import ray_constants

    if not ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV:
        return False
    from ray._private.runtime_env import uv_runtime_env_hook

    return bool(uv_runtime_env_hook._get_uv_run_cmdline())


@contextlib.contextmanager
def trials_in_first_processes() -> Iterator[None]:
    """Let the trials run in the processes with which a private Ray starts.

    Ray Tune gives its actors an environment of their own: some variables, which these processes have anyway
    (tune/execution/class_cache.py). So Ray would start another process for each actor, which imports all that
    the first one has imported.
    """
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    get = _ActorClassCache.get

    def get_plain(cache: Any, trainable: Any) -> Any:
        if trainable not in cache._cache:
            cache._cache[trainable] = ray.remote(trainable)
        return cache._cache[trainable]

    _ActorClassCache.get = get_plain
    try:
        yield
    finally:
        _ActorClassCache.get = get


def _announce_no_agents(node: Any) -> None:
    """Write the files in which a raylet reads its agents' ports, before it looks for them."""
    from ray import _raylet

    for name in ("METRICS_AGENT", "METRICS_EXPORT", "DASHBOARD_AGENT_LISTEN", "RUNTIME_ENV_AGENT"):
        _raylet.persist_port(  # type: ignore[attr-defined]
            node.get_session_dir_path(), node.node_id, getattr(_raylet, f"{name}_PORT_NAME"), -1
        )
