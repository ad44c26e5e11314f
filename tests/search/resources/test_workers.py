"""Workers: how many run concurrently, and what each of them may take."""

from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import psutil
import pytest
import torch

from rigsl.errors import UserError
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

GB = 10**9


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


def gpus(monkeypatch: pytest.MonkeyPatch, *used: int | None) -> None:
    """This machine has GPUs of 80 GB, of which so much is used; None: nobody can tell."""

    def used_memory(index: int) -> int:
        if (bytes_used := used[index]) is None:
            raise RuntimeError("a MIG instance")
        return bytes_used

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(used))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "GPU")
    properties = SimpleNamespace(total_memory=80 * GB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "device_memory_used", used_memory, raising=False)
    monkeypatch.setattr(resources, "cores", lambda: 16)


def plan_on_gpus(share: float | Literal["auto"]) -> Workers:
    return plan_workers(
        device="cuda", count=None, cpus=1, gpus=share, share=0.5, trial_bytes=lambda _: 15 * GB
    )


def test_trials_share_the_memory_that_other_programs_leave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0, 40 * GB)
    assert plan_on_gpus(0.25).memory == pytest.approx(10 * GB - CONTEXT), "of the GPU with the least"
    assert plan_on_gpus("auto").gpus == pytest.approx(1 / 2, abs=1e-3)
    gpus(monkeypatch, 0, None)
    assert plan_on_gpus(0.25).memory == pytest.approx(20 * GB - CONTEXT), (
        "where nobody can tell, all of it is free"
    )
    assert plan_on_gpus("auto").gpus == pytest.approx(1 / 4, abs=1e-3)


def test_a_gpu_that_others_fill_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 80 * GB - 1)
    with pytest.raises(UserError) as refused:
        plan_on_gpus(0.25)
    assert str(refused.value).startswith(
        "--gpus-per-trial 0.25: this machine has a GPU with only 0.0 GB of free memory, too little for such"
    )


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
