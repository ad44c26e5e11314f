"""A worker survives its trials, and nothing of one trial reaches the next."""

import dataclasses
import errno
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from rigsl.config import from_mapping
from rigsl.data import tensor_file
from rigsl.data.folds import train_folds
from rigsl.training.checkpoint import WEIGHTS
from rigsl.training.trainer import Training
from search.execution import trainable
from search.execution.trainable import TrialWorker, WorkerOptions
from search.record.learning_curve import METRIC, read_curve
from search.run_folder import CURVE, ERROR, HELD_OUT, MODEL, STATE
from search.samplers.imputed_scores import CONFIGURATION_FAULTS
from search.space.space import Space
from tests.helpers.toy_study import make_corpus


@pytest.fixture
def epochs() -> int:
    return 3


@pytest.fixture
def config(space: Space) -> dict:
    return space.config(space.starts[0], seed=1).to_dict()


@pytest.fixture
def worker(tmp_path: Path, config: dict, monkeypatch: pytest.MonkeyPatch) -> TrialWorker:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "trials").mkdir()
    made = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster; it only calls setup
    made.setup(
        {"number": 0, "config": config},
        make_corpus(),
        WorkerOptions(trials=tmp_path / "trials", device="cpu", threads=1),
    )
    return made


@dataclass
class Gpu:
    """A GPU as the worker sees it."""

    works: bool = True


@pytest.fixture
def gpu(worker: TrialWorker, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """The worker trains on a GPU, which is this machine's CPU; the end of its process is a SystemExit."""
    pretended = Gpu()
    monkeypatch.setattr(worker, "options", dataclasses.replace(worker.options, device="cuda"))
    build = trainable.Training.__init__

    def on_cpu(training: trainable.Training, *args: object, device: str, **options: object) -> None:
        build(training, *args, device="cpu", **options)

    monkeypatch.setattr(trainable.Training, "__init__", on_cpu)
    monkeypatch.setattr(trainable, "cuda_works", lambda: pretended.works)
    monkeypatch.setattr(trainable, "_end_process", sys.exit)
    return pretended


def run(worker: TrialWorker) -> list[dict]:
    reports = [worker.step()]
    while not reports[-1]["done"]:
        reports.append(worker.step())
    return reports


def test_a_whole_trial_reports_every_epoch_and_keeps_its_files(worker: TrialWorker, tmp_path: Path) -> None:
    reports = run(worker)
    assert [report["epoch"] for report in reports] == [1, 2, 3]
    assert [report["ended"] for report in reports] == ["", "", "by itself"]
    folder = tmp_path / "trials" / "0000"
    assert [line["epoch"] for line in read_curve(folder)] == [1, 2, 3]
    assert (folder / MODEL / "model.safetensors").is_file()


def test_a_second_trial_in_the_same_worker_is_as_in_a_fresh_one(worker: TrialWorker, config: dict) -> None:
    first = run(worker)
    assert worker.reset_config({"number": 1, "config": config | {"lr": 0.05}})
    run(worker)
    assert worker.reset_config({"number": 2, "config": config})
    again = run(worker)
    assert [_numbers(report) for report in again] == [_numbers(report) for report in first]


def test_an_interrupted_trial_tells_its_last_epoch_again_and_goes_on(
    worker: TrialWorker, config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainable, "SAVING_SHARE", 0)  # save after every epoch, however short
    whole = run(worker)
    worker.reset_config({"number": 1, "config": config})
    for _ in range(2):
        worker.step()
        worker._writer.wait()  # a state is skipped while an older one is being written
    worker.reset_config({"number": 1, "config": config})
    rest = run(worker)
    assert [report["epoch"] for report in rest] == [2, 3]
    assert _numbers(rest[-1]) == _numbers(whole[-1])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (trainable.TrainingDiverged("the loss is not finite in epoch 2"), "diverged: the loss is not finite"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: OutOfMemoryError"),
        (MemoryError(), "out of memory: MemoryError"),
        (IndexError("index 7 is out of range\nmore"), "crashed: IndexError: index 7 is out of range"),
    ],
)
def test_a_failure_is_a_report_and_the_worker_goes_on(
    worker: TrialWorker,
    config: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    worker.step()

    def fail(training: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(trainable.Training, "step", fail)
        report = worker.step()
    assert (report["done"], report["ended"]) == (True, "failed")
    assert report["reason"].startswith(reason)
    assert "\n" not in report["reason"]
    assert (tmp_path / "trials" / "0000" / ERROR).is_file()
    worker.reset_config({"number": 1, "config": config})
    assert run(worker)[-1]["ended"] == "by itself"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 400000000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_full_memory_is_a_fault_of_the_configuration(
    worker: TrialWorker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    worker.step()

    def fail(training: object) -> None:
        raise error

    monkeypatch.setattr(trainable.Training, "step", fail)
    assert worker.step()["reason"].startswith("out of memory: ")
    assert "out of memory" in CONFIGURATION_FAULTS  # the sampler learns it


def test_a_tensor_that_the_real_allocator_refuses_is_out_of_memory(
    worker: TrialWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.step()
    monkeypatch.setattr(trainable.Training, "step", lambda training: torch.empty(10**14))
    assert worker.step()["reason"].startswith("out of memory: RuntimeError: ")


def test_other_runtime_errors_stay_crashes(worker: TrialWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.step()
    monkeypatch.setattr(trainable.Training, "step", lambda training: torch.ones(2) @ torch.ones(3))
    assert worker.step()["reason"].startswith("crashed: RuntimeError: ")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_worker_whose_gpu_broke_reports_why_and_ends(
    worker: TrialWorker, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, error: Exception
) -> None:
    worker.step()

    def break_gpu(training: object) -> None:
        gpu.works = False
        raise error

    monkeypatch.setattr(trainable.Training, "step", break_gpu)
    report = worker.step()
    assert (report["done"], report["ended"]) == (False, ""), "Ray tries the trial once more"
    assert report["reason"] == f"crashed: RuntimeError: {str(error).splitlines()[0]}"
    assert METRIC not in report, "no scheduler compares it"
    with pytest.raises(SystemExit):
        worker.step()


def test_a_worker_whose_gpu_broke_takes_no_other_trial(
    worker: TrialWorker, config: dict, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    run(worker)
    gpu.works = False  # an error that CUDA has not reported yet
    with pytest.raises(SystemExit):
        worker.reset_config({"number": 1, "config": config})


def test_an_error_after_which_the_gpu_works_is_as_on_a_cpu(
    worker: TrialWorker, config: dict, monkeypatch: pytest.MonkeyPatch, gpu: Gpu
) -> None:
    worker.step()

    def fail(training: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(trainable.Training, "step", fail)
        report = worker.step()
    assert (report["done"], report["ended"]) == (True, "failed")
    assert report["reason"].startswith("out of memory: ")
    worker.reset_config({"number": 1, "config": config})
    assert run(worker)[-1]["ended"] == "by itself"


def test_a_trial_that_reaches_the_target_ends_by_itself(worker: TrialWorker, tmp_path: Path) -> None:
    worker.options = WorkerOptions(trials=tmp_path / "trials", device="cpu", threads=1, target=1e-6)
    assert run(worker)[-1]["best_weighted_f1"] > 0


def test_the_state_is_not_taken_from_another_configuration(
    worker: TrialWorker, config: dict, tmp_path: Path
) -> None:
    worker.step()
    worker.cleanup()  # what it writes in the background is written
    assert (tmp_path / "trials" / "0000" / STATE).is_file()
    worker.reset_config({"number": 0, "config": config | {"lr": 0.02}})
    assert worker.step()["epoch"] == 1


def test_the_corpus_is_read_only(worker: TrialWorker) -> None:
    with pytest.raises(ValueError, match="read-only"):
        worker.corpus.features["l"][0] = 0


def _numbers(report: dict) -> dict:
    return {name: value for name, value in report.items() if "seconds" not in name and name != "metrics/time"}


@pytest.mark.parametrize("on_disk", ["none", "older", "younger", "damaged"])
def test_after_a_kill_the_model_on_the_disk_becomes_that_of_the_state(
    worker: TrialWorker, config: dict, on_disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are two files: a kill can come between them, and an epoch's model is skipped for a later one."""
    monkeypatch.setattr(trainable, "SAVING_SHARE", 0)  # save after every epoch, however short
    evaluate = Training.evaluate

    def best_at_second(training: Training, dialogues: object) -> SimpleNamespace:
        score = {1: 0.1, 2: 0.5, 3: 0.2}[training.epoch + 1]
        scores = evaluate(training, dialogues).scores
        return SimpleNamespace(scores=dataclasses.replace(scores, weighted_f1=score))

    monkeypatch.setattr(Training, "evaluate", best_at_second)
    folder, kept, models = tmp_path / "trials" / "0000", tmp_path / "kept", {}
    for epoch in (1, 2):
        worker.step()
        worker._writer.wait()
        models[epoch] = (folder / MODEL / WEIGHTS).read_bytes()
    shutil.copytree(folder, kept)
    if on_disk == "none":
        shutil.rmtree(kept / MODEL)
    else:
        other = {"older": models[1], "younger": _other_weights(models[2]), "damaged": b"half of it"}[on_disk]
        (kept / MODEL / WEIGHTS).write_bytes(other)
    whole = run(worker)[-1]
    shutil.rmtree(folder)
    kept.rename(folder)
    worker.reset_config({"number": 0, "config": config})
    resumed = run(worker)[-1]
    assert (resumed["best_epoch"], resumed[METRIC]) == (whole["best_epoch"], whole[METRIC]) == (2, 0.5)
    assert (folder / MODEL / WEIGHTS).read_bytes() == models[2] != models[1]


def _other_weights(content: bytes) -> bytes:
    return save({name: tensor + 1 for name, tensor in load(content).items()})


def test_a_state_without_its_learning_curve_is_not_continued(worker: TrialWorker, config: dict) -> None:
    """As after a power cut: the curve is short, but the state needs all of its lines."""
    worker.step()
    worker.step()
    worker._writer.wait()
    path = worker._folder / CURVE
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    worker.reset_config({"number": 0, "config": config})
    assert [report["epoch"] for report in run(worker)] == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half of it"])
def test_a_damaged_state_costs_epochs_and_not_the_trial(
    worker: TrialWorker, config: dict, content: bytes
) -> None:
    whole = run(worker)
    worker.reset_config({"number": 1, "config": config})
    worker.step()
    worker._writer.wait()
    (worker._folder / STATE).write_bytes(content)
    worker.reset_config({"number": 1, "config": config})
    assert [_numbers(report) for report in run(worker)] == [_numbers(report) for report in whole]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ETIMEDOUT, errno.ESTALE])
def test_a_state_that_cannot_be_read_now_is_not_taken_for_a_damaged_one(
    worker: TrialWorker, config: dict, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.step()
    worker._writer.wait()
    worker.reset_config({"number": 0, "config": config})
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", refusing(number))
        report = worker.step()
    assert report["ended"] == "not written"
    assert (worker._folder / STATE).is_file()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ETIMEDOUT, errno.ENOSPC])
def test_predictions_of_a_fold_that_cannot_be_written_are_no_failure_of_the_training(
    worker: TrialWorker, config: dict, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(worker.options, folds=train_folds(worker.corpus, 3))
    monkeypatch.setattr(worker, "options", options)
    worker.reset_config({"number": -1, "folder": "a-finalist", "config": config, "fold": 1})
    monkeypatch.setattr(tensor_file, "replacing", refusing(number))
    report = run(worker)[-1]
    assert report["ended"] == "not written"
    assert not (options.trials / "a-finalist" / ERROR).exists()


def refusing(number: int):
    """A function that the storage refuses."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_trial_that_leaves_a_fold_out_is_scored_on_it_and_on_dev(
    worker: TrialWorker, config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = worker.corpus
    folds = train_folds(corpus, 3)
    options = dataclasses.replace(worker.options, folds=folds, validation_fold=0)
    monkeypatch.setattr(worker, "options", options)
    worker.reset_config({"number": 1, "config": config})
    reports = run(worker)
    expected = Training(
        from_mapping(config, ""), corpus, held_out=np.flatnonzero(folds == 0), validate_held_out=True
    )
    while not expected.done:
        expected.step()
    assert reports[-1][METRIC] == expected.last_report.best_weighted_f1
    folder = options.trials / "0001"
    assert read_curve(folder)[-1]["val_split_weighted_f1"] == expected.last_report.split_weighted_f1
    assert not (folder / HELD_OUT).exists()


def test_the_state_of_a_trial_that_was_scored_on_dev_alone_is_not_gone_on_with(
    worker: TrialWorker, config: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.step()
    worker.cleanup()
    folds = train_folds(worker.corpus, 3)
    options = dataclasses.replace(worker.options, folds=folds, validation_fold=0)
    monkeypatch.setattr(worker, "options", options)
    worker.reset_config({"number": 0, "config": config})
    assert worker.step()["epoch"] == 1
    assert "val_split_weighted_f1" in read_curve(options.trials / "0000")[0]


@pytest.mark.parametrize(
    ("share", "limit", "part"),
    [(0.5, 0, 0.4), (0.5, 1_200_000_000, 0.2), (0.5, 5_000_000_000, 0.4), (1.0, 1_200_000_000, None)],
)
def test_a_trial_takes_no_more_of_a_gpu_than_its_share_of_what_was_free(
    worker: TrialWorker,
    gpu: Gpu,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    limit: int,
    part: float | None,
) -> None:
    parts: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", parts.append)
    properties = SimpleNamespace(total_memory=6_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    worker.options = dataclasses.replace(worker.options, gpu_fraction=share, gpu_memory=limit)
    worker._limit_memory()
    assert parts == ([] if part is None else [pytest.approx(part)])
