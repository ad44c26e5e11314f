"""Workers: how many there are, what they may take, what happens when they die, and that they forget."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from rigsl.errors import UserError
from search import machine, record, runtime
from search.curve import read_curve
from search.machine import CONTEXT, PROCESS, Node, Workers, plan_workers
from search.plan import Plan
from search.prepare import prepare
from search.searcher import StudySearcher
from search.study import run
from search.trainable import MODEL, TrialWorker, WorkerOptions
from search.wishes import Wishes

from .corpus import make_corpus, write_home
from .mirror import mlflow_runs

GB = 10**9


# What a machine carries.


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


@pytest.mark.parametrize("trials", range(1, 9))
def test_ray_counts_as_many_shares_on_a_gpu_as_fit(trials: int) -> None:
    node = Node("one", 64, 2)
    workers = plan_workers(device=None, count=None, cpus=None, gpus=1 / trials, share=0.5, nodes=[node])
    assert workers.count == 2 * trials
    assert round(trials * round(workers.gpus * 1e4)) <= 1e4  # Ray counts in parts of ten thousand


def test_no_trial_lies_across_gpus_or_machines() -> None:
    nodes = [Node("a", 8, 2), Node("b", 3, 1), Node("c", 32), Node("head", 0)]

    def count(**wishes: object) -> Workers:
        none = {"device": None, "count": None, "cpus": None, "gpus": None}
        return plan_workers(**(none | {"share": 0.5, "nodes": nodes} | wishes))

    assert (count().count, count().cpus, count().nodes, count().gpu_total) == (6, 1, 2, 3)
    assert count(gpus=0.4).count == 6  # two on each GPU, not seven
    assert count(gpus=2.0).count == 1
    assert count(cpus=2).count == 4 + 1
    assert (count(device="cpu").count, count(device="cpu").nodes) == (43, 3)
    assert count(device="cpu", cpus=4).count == 2 + 8
    with pytest.raises(UserError, match="the cluster has no machine with so many GPUs"):
        count(gpus=3.0)
    with pytest.raises(UserError, match=r"--gpus-per-trial 1\.5: is not auto, a share between 0 and 1"):
        count(gpus=1.5)


def test_a_cpu_trial_has_one_thread_unless_the_user_wishes_more() -> None:
    node = Node("one", 8, memory=16 * GB)
    none = {"device": None, "gpus": None, "share": 0.5, "nodes": [node]}
    assert plan_workers(count=2, cpus=None, **none).cpus == 1
    workers = plan_workers(count=2, cpus=4, **none)
    assert (workers.cpus, workers.count, workers.memory) == (4, 2, 8 * GB - PROCESS)
    assert workers.describe() == "2 on CPU, 4 threads each"


def test_a_container_limits_the_memory(tmp_path: Path) -> None:
    free = machine.free_memory(tmp_path)
    assert 0 < free <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("70000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    assert machine.free_memory(tmp_path) == pytest.approx(free, rel=0.5)
    (tmp_path / "memory.max").write_text("100000000\n")
    assert machine.free_memory(tmp_path) == 50_000_000
    (tmp_path / "memory.max").write_text("10000000\n")
    assert machine.free_memory(tmp_path) == 0


# Workers that die.


@pytest.fixture(scope="module")
def ray_of_the_module() -> Iterator[None]:
    """Four places on two pretended GPUs."""
    with runtime.running(Workers(4, "cpu", cpus=1, gpus=0.5, gpu_total=2), 10_000_000):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_of_the_module: None) -> Path:
    folder = write_home(tmp_path / "home", epochs=20)
    monkeypatch.chdir(folder)
    return folder


def plan_for(home: Path, workers: Workers, **wishes: object) -> Plan:
    given = {
        "space": home / "space.toml",
        "data_dir": home / "data",
        "tracking_uri": f"sqlite:///{home}/mlflow.db",
        "device": "cpu",
        "scheduler": "none",
        "finalists": 0,
        "test_seeds": 0,
    }
    return dataclasses.replace(prepare(Wishes(**(given | wishes))), workers=workers)


class Watcher:
    """Hears every report of a worker, with the worker's process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hear, watcher = StudySearcher.on_trial_result, self

        def on_trial_result(searcher: StudySearcher, trial_id: str, result: dict) -> None:
            hear(searcher, trial_id, result)
            watcher.heard(searcher.live[trial_id].trial.number, result)

        monkeypatch.setattr(StudySearcher, "on_trial_result", on_trial_result)

    def heard(self, number: int, result: dict) -> None:
        raise NotImplementedError


def test_a_worker_that_is_lost_twice_fails_its_trial_and_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.air.execution._internal import event_manager

    class Killer(Watcher):
        """Kills the worker of trial 1 twice, then waits until two workers report again.

        The first time as the system does, the second time as Ray's memory monitor, which says so.
        """

        killed: list[int]
        lines: list[dict]  #: first lines of the trial's curve
        later: set[int]

        def heard(self, number: int, result: dict) -> None:
            if number == 1:
                if result["pid"] not in self.killed and result["epoch"] >= 8 and len(self.killed) < 2:
                    self.lines.append(read_curve(plan.folder / "trials" / "0001")[0])
                    self.killed.append(result["pid"])
                    os.kill(result["pid"], signal.SIGKILL)
            elif len(self.killed) == 2:
                self.later.add(result["pid"])
                if len(self.later) == 2:
                    os.kill(os.getpid(), signal.SIGTERM)

    class Told:
        """In place of `ray`, where Ray Tune hears of its workers."""

        def get(self, future: object) -> object:
            try:
                return ray.get(future)
            except ray.exceptions.RayActorError:
                if len(killer.killed) < 2:
                    raise
                raise ray.exceptions.OutOfMemoryError("the node is running low on memory") from None

    monkeypatch.setattr(event_manager, "ray", Told())
    killer = Killer(monkeypatch)
    killer.killed, killer.lines, killer.later = [], [], set()
    plan = plan_for(home, Workers(2, "cpu"), trials=400, study="s")
    outcome = run(plan)
    assert len(set(killer.killed)) == 2
    assert len(killer.later) == 2, "both places are used again"
    assert outcome.interrupted == signal.SIGTERM
    trials = record.begun(record.read_record(plan.folder))
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert [trial.number for trial in failed] == [1]
    assert failed[0].user_attrs[record.REASON].startswith("worker lost twice")
    assert killer.lines[0] == killer.lines[1], "it went on, and did not compute its first epoch again"
    known = sorted(failed[0].intermediate_values)
    assert known == list(range(1, known[-1] + 1))
    for trial in trials:
        if trial.state.name == "COMPLETE":
            lines = read_curve(plan.folder / "trials" / f"{trial.number:04d}")
            assert [line["epoch"] for line in lines] == list(range(1, 21))


def test_half_a_gpu_a_trial_runs_twice_as_many_trials_as_gpus(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Places(Watcher):
        """Which process reported on which GPU."""

        def heard(self, number: int, result: dict) -> None:
            gpus[result["gpu"]].add(result["pid"])

    gpus: dict[str, set[int]] = defaultdict(set)
    Places(monkeypatch)
    outcome = run(plan_for(home, Workers(4, "cpu", gpus=0.5, gpu_total=2), trials=4))
    assert {gpu: len(processes) for gpu, processes in gpus.items()} == {"0": 2, "1": 2}
    trials = record.begun(record.read_record(outcome.plan.folder))
    assert sorted(trial.user_attrs["gpu"] for trial in trials) == ["0", "0", "1", "1"]
    tags = [one.data.tags for one in mlflow_runs(home)["trial"]]
    assert sorted(one["gpu"] for one in tags) == ["0", "0", "1", "1"]
    assert {one["host"].split(" (")[0] for one in tags} == {os.uname().nodename}


# Workers that forget.


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


def make_worker(folder: Path, corpus: object = None) -> TrialWorker:
    worker = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster; it only calls setup
    options = WorkerOptions(trials=folder / "trials", device="cpu", threads=1)
    worker.setup({"number": 0, "config": CONFIG}, corpus or make_corpus(), options)
    return worker


CONFIG = {
    "modals": "ld",
    "hidden_dim": 8,
    "num_K": 1,
    "nodeformer_heads": 2,
    "nb_features_dim": 8,
    "epochs": 3,
}
#: Trials that use what a process could remember.
DIRTY = [
    {"hidden_dim": 12, "precision": "bf16", "dropout": 0.5, "use_gumbel": True, "gumbel_k": 4},
    {"deterministic": True, "ema": 0.5, "backbone": "GCN"},
    {"backbone": "MMGCN", "seed": 7, "batch_size": 3},
]


def train(worker: TrialWorker, folder: Path, number: int, config: dict) -> dict:
    """Every number of a trial: its reports and its weights."""
    from safetensors.torch import load_file

    worker.reset_config({"number": number, "config": CONFIG | config})
    reports = [worker.step()]
    while not reports[-1]["done"]:
        reports.append(worker.step())
    numbers = [{name: value for name, value in one.items() if "seconds" not in name} for one in reports]
    path = folder / "trials" / f"{number:04d}" / MODEL / "model.safetensors"
    weights = (
        {name: tensor.double().sum().item() for name, tensor in load_file(path).items()}
        if path.exists()
        else {}
    )
    return {"reports": numbers, "weights": weights}


def test_a_trial_leaves_its_process_as_it_found_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make_worker(tmp_path)
    train(worker, tmp_path, 0, {})  # the first one starts what torch starts once
    for number, config in enumerate(DIRTY, 1):
        before = process_state()
        assert train(worker, tmp_path, number, config)["reports"][-1]["ended"] == "by itself"
        assert process_state() == before, config

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of an epoch")

    monkeypatch.setattr("rigsl.training.task_loss", fail)
    for number, config in enumerate(DIRTY, 11):
        before = process_state()
        assert train(worker, tmp_path, number, config)["reports"][-1]["ended"] == "failed"
        assert process_state() == before, config


def test_a_reused_worker_gives_the_bits_of_a_fresh_process(tmp_path: Path) -> None:
    worker = make_worker(tmp_path)
    for number, config in enumerate(DIRTY, 1):
        train(worker, tmp_path, number, config)
    wish = {"dropout": 0.3, "use_gumbel": True, "gumbel_k": 2, "num_L": 2}
    reused = train(worker, tmp_path, 9, wish)
    assert len(reused["weights"]) > 10
    code = (
        "import json, sys, torch; from pathlib import Path; from tests.search import test_workers as tests; "
        "folder, wish = Path(sys.argv[1]), json.loads(sys.argv[2]); "
        "found = tests.train(tests.make_worker(folder), folder, 9, wish); "
        "print(json.dumps([torch.get_num_threads(), found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fresh"), json.dumps(wish)],
        cwd=runtime.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "2"},  # a user's own setting does not change the numbers
        capture_output=True,
        text=True,
        check=True,
    )
    threads, fresh = json.loads(done.stdout)
    assert threads == 1
    assert fresh == json.loads(json.dumps(reused))
