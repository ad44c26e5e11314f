"""Workers: how many run concurrently, their memory, lost ones, and that a reused one keeps no state."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import torch

from rigsl.errors import UserError
from search.execution import ray_session
from search.execution.searcher import StudySearcher
from search.execution.trainable import TrialWorker
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import record
from search.record.learning_curve import read_curve
from search.resources import workers as resources
from search.resources.workers import (
    CONTEXT,
    PROCESS,
    Node,
    Workers,
    packed_share,
    packed_trials,
    plan_workers,
)
from search.study import run
from tests.helpers.local_worker import make_worker, train
from tests.helpers.mlflow_contents import mlflow_runs
from tests.helpers.toy_study import write_home

GB = 10**9


# How many trials run on a node.


@pytest.mark.parametrize(
    ("trial_bytes", "gpu_memory", "cores", "gpus", "trials"),
    [
        (1 * GB, 141 * GB, 16, 1, 8),  # never more than eight
        (1 * GB, 141 * GB, 6, 1, 6),  # never more than cores
        (1 * GB, 141 * GB, 12, 4, 3),  # of a GPU
        (1 * GB, 141 * GB, 3, 8, 1),
        (6 * GB, 24 * GB, 16, 1, 2),  # 1.25 * 6 + 0.6 GB: two, not three
        (3 * GB, 24 * GB, 16, 1, 5),
        (30 * GB, 24 * GB, 16, 1, 1),  # what does not fit is declared infeasible, not packed
        (1 * GB, 0, 16, 2, 8),  # a GPU of unknown size
    ],
)
def test_gpus_are_packed_by_memory(
    trial_bytes: int, gpu_memory: int, cores: int, gpus: int, trials: int
) -> None:
    node = Node("one", cores, gpus, gpu_memory=gpu_memory)
    workers = plan_workers(
        device=None,
        count=None,
        cpus=None,
        gpus="auto",
        share=0.5,
        nodes=[node],
        trial_bytes=lambda _: trial_bytes,
    )
    assert workers.count == min(trials * gpus, cores)
    assert (workers.device, workers.gpu_total, workers.cpus) == ("cuda", gpus, cores // workers.count)
    assert trials * workers.gpus <= 1 < (trials + 1) * workers.gpus + 1e-3
    if gpu_memory:
        assert trials * (workers.memory + CONTEXT) <= gpu_memory
        assert workers.memory > trial_bytes or trials == 1


def test_no_more_are_packed_than_measured_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = tmp_path / "packing.toml"
    measured.write_text('["Slow GPU"]\ntrials = 3\n', encoding="utf-8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, trials in (("Slow GPU", 3), ("Other GPU", 8)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _index, name=name: name)
        assert packed_trials(measured) == trials
    assert packed_trials(tmp_path / "none.toml") == 8
    assert packed_share(1 * GB, Node("one", 16, 1, packed=3)) == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize("trials", range(1, 9))
def test_ray_counts_as_many_shares_on_a_gpu_as_fit(trials: int) -> None:
    node = Node("one", 64, 2)
    workers = plan_workers(device=None, count=None, cpus=None, gpus=1 / trials, share=0.5, nodes=[node])
    assert workers.count == 2 * trials
    assert round(trials * round(workers.gpus * 1e4)) <= 1e4  # Ray counts in parts of ten thousand


def test_no_trial_is_split_between_gpus_or_nodes() -> None:
    nodes = [Node("a", 8, 2), Node("b", 3, 1), Node("c", 32), Node("head", 0)]

    def count(**options: object) -> Workers:
        none = {"device": None, "count": None, "cpus": None, "gpus": None}
        return plan_workers(**(none | {"share": 0.5, "nodes": nodes} | options))

    assert (count().count, count().cpus, count().nodes, count().gpu_total) == (6, 1, 2, 3)
    assert count(gpus=0.4).count == 6  # two on each GPU, not seven
    assert count(gpus=2.0).count == 1
    assert count(cpus=2).count == 4 + 1
    assert (count(device="cpu").count, count(device="cpu").nodes) == (43, 3)
    assert count(device="cpu", cpus=4).count == 2 + 8
    with pytest.raises(UserError, match="no node of that cluster has a core for trials"):
        count(nodes=[Node("head", 0)])
    with pytest.raises(UserError, match=r"--gpus-per-trial 3: the cluster has only 2 GPUs on one node"):
        count(gpus=3.0)
    with pytest.raises(UserError, match=r"--gpus-per-trial 1\.5: is not auto, a share between 0 and 1"):
        count(gpus=1.5)


def test_a_cpu_trial_has_one_thread_by_default() -> None:
    node = Node("one", 8, memory=16 * GB)
    none = {"device": None, "gpus": None, "share": 0.5, "nodes": [node]}
    assert plan_workers(count=2, cpus=None, **none).cpus == 1
    workers = plan_workers(count=2, cpus=4, **none)
    assert (workers.cpus, workers.count, workers.memory) == (4, 2, 8 * GB - PROCESS)
    assert workers.describe() == "2 on CPU, 4 threads each"


def test_a_container_limits_the_memory(tmp_path: Path) -> None:
    free = resources.free_memory(tmp_path)
    assert 0 < free <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("70000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    assert resources.free_memory(tmp_path) == pytest.approx(free, rel=0.5)
    (tmp_path / "memory.max").write_text("100000000\n")
    assert resources.free_memory(tmp_path) == 50_000_000
    (tmp_path / "memory.max").write_text("10000000\n")
    assert resources.free_memory(tmp_path) == 0


# Workers that are lost.


@pytest.fixture(scope="module")
def ray_of_the_module() -> Iterator[None]:
    """Four trial slots on two pretended GPUs."""
    with ray_session.running(Workers(4, "cpu", cpus=1, gpus=0.5, gpu_total=2), 10_000_000):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_of_the_module: None) -> Path:
    folder = write_home(tmp_path / "home", epochs=40)
    monkeypatch.chdir(folder)
    return folder


class Killer:
    """Follows every report of a worker; kills the worker of one trial twice, and one between two trials.

    It waits until all slots are used, first, and at the end until they are used again, and then interrupts
    the study.
    """

    def __init__(self, trials: Path, slots: int) -> None:
        self.trials, self.slots = trials, slots
        self.victim = -1
        self.killed: list[int] = []  #: processes
        self.first_lines: list[dict] = []  #: of the victim's curve, at both times
        self.before: dict[int, str] = {}  #: processes and their GPUs until the first was killed
        self.after: dict[int, str] = {}  #: and since the last was

    def heard(self, number: int, result: dict) -> None:
        process = result["pid"]
        if not self.killed:
            self.before[process] = result["gpu"]
            if len(self.before) == self.slots and 5 <= result["epoch"] <= 30:
                self.victim = number
                self._kill_victim(process)
        elif len(self.killed) == 1:
            if number == self.victim and process not in self.killed:
                self._kill_victim(process)
        elif len(self.killed) == 3:
            self.after[process] = result["gpu"]
            if len(self.after) == self.slots:
                os.kill(os.getpid(), signal.SIGTERM)

    def ended(self, result: dict) -> None:
        if len(self.killed) == 2 and result["pid"] not in self.killed:
            self._kill(result["pid"])

    def get(self, future: object) -> object:
        """`ray.get` for Ray Tune: the second kill looks like one by Ray's memory monitor."""
        import ray

        try:
            return ray.get(future)
        except ray.exceptions.RayActorError:
            if len(self.killed) != 2:
                raise
            raise ray.exceptions.OutOfMemoryError("the node is running low on memory") from None

    def _kill_victim(self, process: int) -> None:
        self.first_lines.append(read_curve(self.trials / f"{self.victim:04d}")[0])
        self._kill(process)

    def _kill(self, process: int) -> None:
        self.killed.append(process)
        os.kill(process, signal.SIGKILL)


def test_half_a_gpu_a_trial_and_a_worker_that_is_lost_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.air.execution._internal import event_manager

    plan = prepare(
        SearchOptions(
            trials=5000,
            minutes=5,
            study="s",
            device="cpu",
            scheduler="none",
            space=home / "space.toml",
            data_dir=home / "data",
            tracking_uri=f"sqlite:///{home}/mlflow.db",
        )
    )
    plan = dataclasses.replace(plan, workers=Workers(4, "cpu", gpus=0.5, gpu_total=2))
    killer, hear = Killer(plan.folder / "trials", 4), StudySearcher.on_trial_result
    end = StudySearcher.on_trial_complete

    def on_trial_result(searcher: StudySearcher, trial_id: str, result: dict) -> None:
        hear(searcher, trial_id, result)
        killer.heard(searcher.live[trial_id].trial.number, result)

    def on_trial_complete(
        searcher: StudySearcher, trial_id: str, result: dict | None = None, error=False
    ) -> None:
        end(searcher, trial_id, result, error)
        if result is not None:
            killer.ended(result)

    monkeypatch.setattr(StudySearcher, "on_trial_result", on_trial_result)
    monkeypatch.setattr(StudySearcher, "on_trial_complete", on_trial_complete)
    monkeypatch.setattr(event_manager, "ray", SimpleNamespace(get=killer.get))
    assert run(plan).interrupted == signal.SIGTERM
    # Four concurrent trials on two GPUs, and again after three workers were lost.
    assert sorted(killer.before.values()) == sorted(killer.after.values()) == ["0", "0", "1", "1"]
    assert len(set(killer.killed)) == 3
    assert not {*killer.killed} & {*killer.after}
    trials = record.begun(record.read_record(plan.folder))
    (failed,) = [trial for trial in trials if trial.state.name == "FAIL"]
    assert failed.number == killer.victim
    assert failed.user_attrs[record.REASON].startswith("worker lost twice")
    assert killer.first_lines[0] == killer.first_lines[1], "it went on from where it was, once"
    assert sorted(failed.intermediate_values) == list(range(1, len(failed.intermediate_values) + 1))
    complete = {str(trial.number): trial for trial in trials if trial.state.name == "COMPLETE"}
    assert complete
    for trial in complete.values():
        lines = read_curve(plan.folder / "trials" / f"{trial.number:04d}")
        assert [line["epoch"] for line in lines] == sorted(trial.intermediate_values) == list(range(1, 41))
    for tags in (trial_run.data.tags for trial_run in mlflow_runs(home)["trial"]):
        if tags["trial"] in complete:
            assert tags["gpu"] in ("0", "1")
            assert tags["host"].startswith(f"{os.uname().nodename} (")


# Workers that keep no state.


class UsedWorker(NamedTuple):
    worker: TrialWorker
    folder: Path
    states: list[tuple[dict, dict]]


#: Trials that use what a process could remember.
DIRTY = [
    {"hidden_dim": 12, "precision": "bf16", "dropout": 0.5, "use_gumbel": True, "gumbel_k": 4},
    {"deterministic": True, "ema": 0.5, "backbone": "GCN"},
    {"backbone": "GAT", "seed": 7, "batch_size": 3},
]


def process_state() -> dict[str, object]:
    """What code in a process can leave behind for later code."""
    return {
        "python": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "precision": torch.get_float32_matmul_precision(),
        "folder": Path.cwd(),
        "files": sorted(file.path for file in psutil.Process().open_files()),
        "python threads": psutil.Process().num_threads() if sys.platform == "linux" else 0,
    }


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> UsedWorker:
    """A worker after trials of all kinds, and the process before and after each of them."""
    folder = tmp_path_factory.mktemp("used")
    worker, states = make_worker(folder), []
    train(worker, folder, 0, {})  # the first one starts what torch starts once

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of an epoch")

    with pytest.MonkeyPatch.context() as patch:
        for number, config in enumerate([*DIRTY, *DIRTY], 1):
            if number > len(DIRTY):
                patch.setattr("rigsl.training.trainer.task_loss", fail)
            before = process_state()
            ended = train(worker, folder, number, config)["reports"][-1]["ended"]
            assert ended == ("failed" if number > len(DIRTY) else "by itself")
            states.append((before, process_state()))
    return UsedWorker(worker, folder, states)


def test_a_trial_leaves_its_process_as_it_found_it(used: UsedWorker) -> None:
    assert len(used.states) == 2 * len(DIRTY)
    for before, after in used.states:
        assert before == after


def test_a_reused_worker_gives_the_bits_of_a_fresh_process(used: UsedWorker, tmp_path: Path) -> None:
    params = {"dropout": 0.3, "use_gumbel": True, "gumbel_k": 2, "num_L": 2}
    reused = train(used.worker, used.folder, 90, params)
    assert len(reused["weights"]) > 10
    code = (
        "import json, sys, torch; from pathlib import Path; from tests.helpers import local_worker; "
        "folder, params = Path(sys.argv[1]), json.loads(sys.argv[2]); "
        "result = local_worker.train(local_worker.make_worker(folder), folder, 90, params); "
        "print(json.dumps([torch.get_num_threads(), result]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(params)],
        cwd=ray_session.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "2"},  # a user's own setting does not change the numbers
        capture_output=True,
        text=True,
        check=True,
    )
    threads, fresh = json.loads(done.stdout)
    assert threads == 1
    assert fresh == json.loads(json.dumps(reused))
