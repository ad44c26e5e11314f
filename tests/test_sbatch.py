"""The batch script of docs/cluster.md: Slurm stops a study in good order, requeues it, and it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search.record import record
from search.run_folder import ROOT

#: srun: the command in a session of its own, as Slurm's daemon starts it; a signal's exit code is a shell's.
SRUN = """#!{python}
import pathlib, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
step = subprocess.Popen(command, start_new_session=True)
pathlib.Path("step").write_text(str(step.pid))
code = step.wait()
sys.exit(code if code >= 0 else 128 - code)
"""
#: A search that only says what it was asked to do, and then ends as the test wants, or at a SIGTERM.
SEARCH = """#!/bin/sh
echo "$@" >> asked
trap 'exit 143' TERM
touch running
[ -z "$CODE" ] || exit "$CODE"
while :; do sleep 0.1; done
"""


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def project(tracked_home: Path) -> Path:
    """The folder from which the job is submitted: the script of the page, and Slurm's commands in ``bin``."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    [script] = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    executable(tracked_home / "job", script)
    executable(tracked_home / "bin" / "srun", SRUN.format(python=sys.executable))
    executable(tracked_home / "bin" / "scontrol", '#!/bin/sh\necho "$@" >> scontrol\n')
    return tracked_home


def submit(project: Path, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    """Run the script as Slurm does: by its first line, in a process group of its own."""
    environment = os.environ | {"PATH": f"{project / 'bin'}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "2"}
    job = variables or {"SLURM_JOB_ID": "7"}
    with (project / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [project / "job", *arguments],
            cwd=project,
            env=environment | job,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def printed(project: Path) -> str:
    return (project / "output.txt").read_text(encoding="utf-8")


def wait_for(project: Path, job: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert job.poll() is None, printed(project)
        assert time.monotonic() < end, printed(project)
        time.sleep(0.05)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def stand_in(project: Path) -> Path:
    """The project with a search that takes no time."""
    executable(project / ".venv" / "bin" / "python", SEARCH)
    return project


ARRAY = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.mark.parametrize(
    ("variables", "study", "seed", "requeued"),
    [({"SLURM_JOB_ID": "7"}, "meld-7", 0, "7"), (ARRAY, "meld-10_2", 2, "10_2")],
)
def test_a_job_and_a_task_of_an_array_begin_and_resume_their_own_study(
    stand_in: Path, variables: dict[str, str], study: str, seed: int, requeued: str
) -> None:
    assert submit(stand_in, "--trials", "9", CODE="143", **variables).wait() == 143
    (stand_in / "runs" / study).mkdir(parents=True)
    assert submit(stand_in, "--trials", "9", CODE="143", **variables).wait() == 143
    assert lines(stand_in / "asked") == [
        f"run_search.py --runs-dir runs --study {study} --dataset MELD --seed {seed} --trials 9",
        f"run_search.py --runs-dir runs --resume {study} --trials 9",
    ]
    assert lines(stand_in / "scontrol") == [f"requeue {requeued}"] * 2


@pytest.mark.parametrize("code", ["0", "1", "2", "130"])
def test_nothing_else_is_requeued(stand_in: Path, code: str) -> None:
    assert submit(stand_in, SLURM_JOB_ID="7", CODE=code).wait() == int(code)
    assert lines(stand_in / "scontrol") == []


def test_a_cancelled_job_is_not_requeued(stand_in: Path) -> None:
    job = submit(stand_in)
    wait_for(stand_in, job, lambda: bool(lines(stand_in / "step")) and (stand_in / "running").exists())
    os.killpg(job.pid, signal.SIGTERM)  # the batch script, as scancel and B:TERM do
    assert job.wait() == -signal.SIGTERM
    os.killpg(int(lines(stand_in / "step")[0]), signal.SIGTERM)
    assert lines(stand_in / "scontrol") == []


def test_the_warning_of_the_time_limit_reaches_what_srun_starts() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    options = set(re.findall(r"^#SBATCH (\S+)$", page, re.MULTILINE))
    assert {"--signal=TERM@120", "--requeue", "--open-mode=append"} <= options


@pytest.fixture
def epochs() -> int:
    return 60


def test_a_study_that_slurm_stops_is_requeued_and_finished_by_the_next_run(project: Path) -> None:
    executable(project / ".venv" / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (project / "run_search.py").symlink_to(ROOT / "run_search.py")
    options = ("--space", "space.toml", "--data-dir", "data", "--trials", "2", "--workers", "1")
    folder = project / "runs" / "meld-7"

    def in_the_middle() -> bool:
        try:
            trials = record.read_record(folder).trials if (folder / "study.journal").exists() else []
        except (ValueError, KeyError):  # read in the middle of a line
            return False
        return sum(len(trial.intermediate_values) for trial in trials) >= 3

    job = submit(project, *options)
    wait_for(project, job, in_the_middle)
    os.killpg(int(lines(project / "step")[0]), signal.SIGTERM)
    assert job.wait(300) == 143, printed(project)
    assert lines(project / "scontrol") == ["requeue 7"]
    before = record.read_record(folder)
    assert before.user_attrs[record.STANDING] == "interrupted"
    assert submit(project, *options).wait(300) == 0, printed(project)
    after = record.read_record(folder)
    assert after.user_attrs[record.STANDING] == "finished: all 2 trials done"
    assert [trial.number for trial in after.trials] == [0, 1]
    for old, new in zip(before.trials, after.trials, strict=False):
        assert old.params == new.params
        assert old.intermediate_values.items() <= new.intermediate_values.items()
    assert lines(project / "scontrol") == ["requeue 7"]
    assert (folder / "best" / "metrics.json").is_file()
