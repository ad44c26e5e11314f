"""GPUs train, and the driver evaluates, exports and reports what they trained on its CPU."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import run_search
from rigsl.errors import UserError
from search.confirm.final_record import read_final_record
from search.execution import tune_run
from search.execution.trainable import WorkerOptions
from search.export.best import read_metrics
from search.export.rerun import rerun
from search.resources.workers import Workers
from search.run_folder import REPORT
from search.study import run
from tests.helpers.toy_study import toy_plan


def no_context(*_: object, **__: object) -> None:
    raise AssertionError("the driver computes on a GPU")


def see_the_gpu_of_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process sees a GPU, and must not compute on it: a context would take memory from the trials."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "H100")
    for name in ("_lazy_init", "synchronize", "mem_get_info"):
        monkeypatch.setattr(torch.cuda, name, no_context)


@pytest.mark.usefixtures("workers_here")
def test_all_that_follows_a_search_on_gpus_needs_none(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked: list[tuple[str, float, int]] = []

    def on_cpu(**options: Any) -> WorkerOptions:
        """The workers live in this process; their GPU is its CPU."""
        asked.append((options["device"], options["gpu_fraction"], options["gpu_memory"]))
        return WorkerOptions(**options | {"device": "cpu", "gpu_fraction": 0.0})

    monkeypatch.setattr(tune_run, "WorkerOptions", on_cpu)
    final = {"finalists": 1, "finalist_seeds": 1, "test_seeds": 1, "protocol": "paper"}
    plan = toy_plan(tracked_home, trials=2, study="s", **final)
    plan = dataclasses.replace(plan, workers=Workers(1, "cuda", gpus=0.5, gpu_total=1, memory=10**9))
    see_the_gpu_of_the_trials(monkeypatch)
    outcome = run(plan)
    assert set(asked) == {("cuda", 0.5, 10**9)}
    assert outcome.exported is not None
    assert outcome.registered is not None
    assert not outcome.tracking_problem
    best, recorded = plan.folder / "best", read_final_record(plan.folder)
    metrics = read_metrics(best)
    assert metrics["machine"]["device"] == "cuda", "on it the training is repeated"
    assert metrics["machine"]["gpu"] == "H100"
    assert metrics["evaluated_on"] == "cpu"
    assert {opening.protocol for opening in recorded.openings} == {"validation", "paper"}
    assert 0 <= metrics["test"]["weighted_f1"] <= 1
    (plan.folder / REPORT).unlink()
    for command in (["--report", "s"], ["--status", "s"]):
        assert run_search.main(command) == 0, capsys.readouterr().err
    assert (plan.folder / REPORT).is_file()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # on another machine
    with pytest.raises(UserError, match="was trained on CUDA, and torch finds no GPU here; rerun it on"):
        rerun(best, data_dir=tracked_home / "data")
