"""A dialogue of 10,000 utterances trains in less than 4 GB; torch-scatter gives the numbers of PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import torch_geometric.typing
from torch_geometric.utils import segment

from rigsl.config import BACKBONES
from search.run_folder import ROOT

pytestmark = pytest.mark.soak

UTTERANCES, MOST_BYTES = 10_000, 4 * 10**9

#: One step of a training, and the highest resident memory of the process, libraries included.
STEP = """
import json, sys
import numpy as np, torch
from benchmarks.corpora import synthetic_corpus
from benchmarks.speed.memory import resident_bytes
from rigsl.config import RIGSLConfig
from rigsl.training.trainer import Training
utterances, changes = json.loads(sys.argv[1])
torch.set_num_threads(1)
corpus = synthetic_corpus([utterances, 2], {"l": 256, "a": 64, "v": 64}, validation=1)
config = RIGSLConfig(
    modals="lav", hidden_dim=64, num_L=2, num_K=2, nodeformer_heads=2, nb_features_dim=32, gumbel_k=8,
    batch_size=1, windowp=20, windowf=20, **changes,
)
training = Training(config, corpus)
training.model.train()
numbers = training.train_on(np.array([0]), 0.05)
print(json.dumps([resident_bytes("VmHWM"), bool(torch.isfinite(numbers).all())]))
"""


def peak_of_a_step(utterances: int, **changes: object) -> int:
    """Peak resident bytes of a process that trains one step on a dialogue."""
    command = [sys.executable, "-c", STEP, json.dumps([utterances, changes])]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    peak, finite = json.loads(process.stdout.splitlines()[-1])
    assert finite
    return int(peak)


@pytest.mark.parametrize(
    ("backbone", "sparsifier"), zip(BACKBONES, ["hard_concrete", "sparsemax"] * 2, strict=True)
)
def test_a_dialogue_of_ten_thousand_utterances_trains_in_four_gigabytes(
    backbone: str, sparsifier: str
) -> None:
    assert peak_of_a_step(UTTERANCES, backbone=backbone, sparsifier=sparsifier) < MOST_BYTES


def test_memory_grows_with_the_length_and_not_with_its_square() -> None:
    least, middle, most = (peak_of_a_step(utterances) for utterances in (1_000, 5_000, 10_000))
    per_utterance = [(middle - least) / 4_000, (most - middle) / 5_000]
    assert per_utterance[1] < 1.5 * per_utterance[0]


@pytest.mark.skipif(
    not torch_geometric.typing.WITH_TORCH_SCATTER,
    reason="torch-scatter is not installed: pip install --no-build-isolation -e '.[scatter]' (docs/speed.md)",
)
def test_torch_scatter_gives_the_sums_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reductions of a list of edges, values and gradients, by torch-scatter and by PyTorch."""
    values = torch.randn(1_000, dtype=torch.float64, requires_grad=True)
    start = torch.tensor([0, 0, 3, 400, 400, 999, 1_000])
    found = []
    for scatter in (True, False):
        monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", scatter)
        for reduce in ("sum", "max"):
            result = segment(values, start, reduce=reduce)
            found.append((result, *torch.autograd.grad(result.sin().sum(), values)))
    for mine, theirs in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(mine, theirs)
