"""A reused worker keeps no state: a trial leaves its process as it found it."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import torch

from search.execution.trainable import TrialWorker
from search.run_folder import ROOT
from tests.helpers.local_worker import make_worker, train


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
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "2"},  # a user's own setting does not change the numbers
        capture_output=True,
        text=True,
        check=True,
    )
    threads, fresh = json.loads(done.stdout)
    assert threads == 1
    assert fresh == json.loads(json.dumps(reused))
