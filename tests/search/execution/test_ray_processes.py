"""Which processes a private Ray starts, by the command line of its raylet."""

import pytest
from ray._private import ray_constants, services
from ray._private.node import Node
from ray._private.runtime_env import uv_runtime_env_hook

from search.execution import ray_processes

COMMAND = ["raylet", "--num_prestart_python_workers=16", "--dashboard_agent_command=python a.py --port=1",
           "--runtime_env_agent_command=python b.py", "--head"]  # fmt: skip


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the processes that would have been started."""
    commands: list[list[str]] = []
    monkeypatch.setattr(services, "start_ray_process", lambda command, kind: commands.append(command))
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.delenv("RAY_RUNTIME_ENV_HOOK", raising=False)
    return commands


def test_there_is_a_worker_for_every_trial_and_no_agent(started: list[list[str]]) -> None:
    with ray_processes.needed_processes(3):
        services.start_ray_process(COMMAND, "raylet")
    command = started[0]
    assert [command[0], command[1], command[4]] == ["raylet", "--num_prestart_python_workers=3", "--head"]
    for part, option in zip(
        command[2:4], ("--dashboard_agent_command=", "--runtime_env_agent_command="), strict=True
    ):
        assert part.startswith(option)
        assert part.endswith("ray_agent.py")


@pytest.mark.parametrize("variable", ["RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK"])
def test_in_a_job_with_an_environment_of_its_own_the_agents_stay(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "some.module")
    assert ray_processes.has_runtime_environment()
    with ray_processes.needed_processes(3):
        services.start_ray_process(COMMAND, "raylet")
    assert started[0][2:] == COMMAND[2:]


@pytest.mark.parametrize("command", [None, ["uv", "run", "run_search.py"]])
def test_where_ray_was_imported_first_the_agents_stay_under_uv_only(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, command: list[str] | None
) -> None:
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    monkeypatch.setattr(uv_runtime_env_hook, "_get_uv_run_cmdline", lambda: command)
    assert ray_processes.has_runtime_environment() is bool(command)
    with ray_processes.needed_processes(3):
        services.start_ray_process(COMMAND, "raylet")
    assert (started[0][2:] == [*COMMAND[2:]]) is bool(command)


def test_ray_itself_is_left_as_it_was() -> None:
    before = (services.start_ray_process, Node.start_raylet, Node.start_monitor, Node.start_api_server)
    with ray_processes.needed_processes(3):
        assert Node.start_monitor is not before[2]
    assert (
        services.start_ray_process,
        Node.start_raylet,
        Node.start_monitor,
        Node.start_api_server,
    ) == before
