"""The training step of the official code (github.com/FarisXiong/RIGSL), imported from a clone of it."""

from __future__ import annotations

import importlib.util
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.training.losses import class_weights, link_factor


class OfficialTraining:
    """The official model with its loss and optimiser, on batches as its data loader makes them.

    The clone is imported unchanged. Without a GPU, its calls of ``cuda`` do nothing. Without torch-scatter,
    PyTorch Geometric's scatter replaces it.
    """

    def __init__(self, clone: Path, config: RIGSLConfig, corpus: Corpus, device: str) -> None:
        self.config, self.corpus, self.device = config, corpus, device
        code = _import(clone, device)
        meld = len(corpus.classes) == 7
        torch.manual_seed(config.seed)
        self.model: nn.Module = code.Model(
            config.base_model,
            D_m=corpus.schema.widths["l"],
            D_g=config.hidden_dim,
            D_m_v=corpus.schema.widths["v"],
            D_m_a=corpus.schema.widths["a"],
            n_speakers=9 if meld else 2,
            max_seq_len=200,
            window_past=10,
            window_future=10,
            n_classes=len(corpus.classes),
            dataset="MELD" if meld else "IEMOCAP",
            **{name: getattr(config, name) for name in _FLAGS},
        ).to(device)
        weights = class_weights(corpus.labels, len(corpus.classes), "inverse").to(device)
        self.loss = code.PCGNet_FocalLoss(gamma=0.5, alpha=weights) if meld else nn.NLLLoss(weights)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.lr, weight_decay=config.l2)
        self.speakers = 9 if meld else 2

    def train_on(self, dialogues: NDArray[np.int64]) -> float:
        """One optimiser step, as in the first epoch; returns its loss."""
        self.model.train()
        self.optimiser.zero_grad()
        views, qmask, umask, lengths, audio, visual, label = self._batch(dialogues)
        log_prob, *_, penalty, link = self.model(
            views, qmask, umask, lengths, audio, visual, 0, label=label, train=True
        )
        loss = self.loss(log_prob, label) + self.config.penalty_weight_coff * penalty
        loss = loss - link_factor(self.config, 0) * link
        value = float(loss.item())
        loss.backward()
        self.optimiser.step()
        return value

    def _batch(self, dialogues: NDArray[np.int64]) -> tuple[Any, ...]:
        rows = [self.corpus.rows(np.array([dialogue])) for dialogue in dialogues]
        text, audio, visual = (self._padded(self.corpus.features[letter], rows) for letter in "lav")
        speakers = np.eye(self.speakers, dtype=np.float32)[self.corpus.speakers]
        umask = pad_sequence([torch.ones(len(indices)) for indices in rows], batch_first=True).to(self.device)
        label = torch.from_numpy(self.corpus.labels[np.concatenate(rows)]).to(self.device)
        lengths = [len(indices) for indices in rows]
        return list(text.unbind(2)), self._padded(speakers, rows), umask, lengths, audio, visual, label

    def _padded(self, values: NDArray[Any], rows: list[NDArray[np.int64]]) -> Tensor:
        """[longest, dialogues, ...]"""
        dialogues = [torch.from_numpy(values[indices].astype(np.float32)) for indices in rows]
        return pad_sequence(dialogues).to(self.device)


_FLAGS = (
    "dropout", "use_residue", "modals", "av_using_lstm", "backbone", "use_speaker", "norm",
    "num_L", "use_residue_denoise", "denoise_dropout", "gamma", "zeta", "temperature",
    "use_gumbel", "num_K", "gumbel_k", "nodeformer_heads", "nb_features_dim", "tau", "nodeformer_dropout",
    "use_residue_nodeformer", "use_jk_nodeformer",
)  # fmt: skip


@cache
def _import(clone: Path, device: str) -> Any:
    """The clone's module ``model``."""
    if device == "cpu":
        _disable_cuda_calls()
    _replace_missing_packages()
    if str(clone) not in sys.path:
        sys.path.insert(0, str(clone))
    return importlib.import_module("model")


def _disable_cuda_calls() -> None:
    """Make ``x.cuda()`` return x, and ``torch.randn(..., device="cuda")`` a tensor on the CPU."""

    def unchanged(self: Any, *_: Any, **__: Any) -> Any:
        return self

    randn = torch.randn

    def cpu_randn(*sizes: Any, **options: Any) -> Tensor:
        return randn(*sizes, **{name: value for name, value in options.items() if name != "device"})

    torch.Tensor.cuda = nn.Module.cuda = unchanged  # type: ignore[method-assign]
    torch.randn = cpu_randn


def _replace_missing_packages() -> None:
    """Replace torch-scatter where it is not installed, and torch-sparse, which is imported but not used."""
    from torch_geometric.utils import scatter

    def scatter_add(src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None) -> Tensor:
        return scatter(src, index, dim, dim_size, reduce="sum")

    names = {
        "torch_scatter": {"scatter_add": scatter_add},
        "torch_sparse": {"SparseTensor": None, "matmul": None},
    }
    for name, content in names.items():
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = module = types.ModuleType(name)
            vars(module).update(content)
