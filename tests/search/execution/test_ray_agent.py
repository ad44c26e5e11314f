"""The stand-in for an agent ends with its raylet, which may be killed."""

import os
import subprocess
import sys

import psutil

from search.execution import ray_agent

COMMAND = [sys.executable, "-I", "-S", ray_agent.__file__]


def test_it_ends_when_its_raylet_is_killed() -> None:
    raylet = (
        "import os, subprocess, sys; os.environ['RAY_RAYLET_PID'] = str(os.getpid()); "
        "print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", raylet, *COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        agent = psutil.Process(int(process.stdout.readline()))
        assert agent.is_running()
        process.kill()
    psutil.wait_procs([agent], timeout=60)
    assert not agent.is_running()


def test_it_ends_when_its_raylet_is_gone_before_it_looks() -> None:
    nobody = str(os.getppid())
    subprocess.run(COMMAND, env={"RAY_RAYLET_PID": nobody}, timeout=60, check=True)
