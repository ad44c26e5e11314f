"""A worker in this process, without Ray, and every number of a trial that it runs."""

from pathlib import Path

from safetensors.torch import load_file

from search.execution.trainable import TrialWorker, WorkerOptions
from search.run_folder import MODEL
from tests.helpers.toy_study import make_corpus

CONFIG = {
    "modals": "ld",
    "hidden_dim": 8,
    "num_K": 1,
    "nodeformer_heads": 2,
    "nb_features_dim": 8,
    "epochs": 2,
}


def make_worker(folder: Path) -> TrialWorker:
    """A worker with one thread, which keeps its trials in ``trials/`` of `folder`."""
    worker = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster; it only calls setup
    (folder / "trials").mkdir(exist_ok=True)
    options = WorkerOptions(trials=folder / "trials", device="cpu", threads=1)
    worker.setup({"number": 0, "config": CONFIG}, make_corpus(), options)
    return worker


def train(worker: TrialWorker, folder: Path, number: int, config: dict) -> dict:
    """Run a trial with these differences from CONFIG; its reports and the sums of its weights."""
    worker.reset_config({"number": number, "config": CONFIG | config})
    reports = [worker.step()]
    while not reports[-1]["done"]:
        reports.append(worker.step())
    clock = ("seconds", "metrics/time", "metrics/epoch_seconds")
    numbers = [{name: value for name, value in report.items() if name not in clock} for report in reports]
    path = folder / "trials" / f"{number:04d}" / MODEL / "model.safetensors"
    weights = load_file(path) if path.exists() else {}
    sums = {
        name: [tensor.double().sum().item(), *tensor.flatten()[:3].tolist()]
        for name, tensor in weights.items()
    }
    return {"reports": numbers, "weights": sums}
