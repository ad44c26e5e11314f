"""The numbers recorded from the official code, and what this project computes in their place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.data.corpus import Corpus, Schema
from rigsl.model.nodeformer import gumbel_weights, projected, relation_weights
from rigsl.model.rigsl import RIGSL
from rigsl.official.names import CLASS_FREQUENCY, FOCAL_GAMMA, parameter_name, renamed_state
from rigsl.training.arithmetic import arithmetic
from rigsl.training.losses import link_factor, task_loss

#: A number is met within ATOL + RTOL times its size.
RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class RecordedModel:
    """A whole model with its inputs, and what the official code computes with it."""

    config: RIGSLConfig
    corpus: Corpus
    schema: Schema
    dataset: str
    state: dict[str, Tensor]
    numbers: dict[str, Tensor]  #: outputs, and ``grad NAME`` of some parameters


def recorded_files(folder: Path) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Any] | None]]:
    """Name, tensors and configuration (None: not a whole model) of each file."""
    for path in sorted(folder.glob("*.npz")):
        yield path.stem, *read_recorded(path)


def read_recorded(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Tensors and configuration (None: not a whole model) of a file."""
    recorded = np.load(path, allow_pickle=False)
    tensors = {
        key: torch.from_numpy(recorded[key]) for key in recorded.files if recorded[key].dtype.kind in "fiu"
    }
    return tensors, json.loads(str(recorded["config"])) if "config" in recorded.files else None


def recorded_model(tensors: dict[str, Tensor], recorded: dict[str, Any]) -> RecordedModel:
    """A whole model out of one file."""
    names = set(RIGSLConfig.__dataclass_fields__)
    config = RIGSLConfig(
        **{name: value for name, value in recorded.items() if name in names},
        modals="lav",
        official_quirks=True,
        penalty_weight_coff=5e-4,
        link_loss_coff=0.1,
        dropout=0.0,
        focal_gamma=FOCAL_GAMMA[recorded["dataset"]],
    )
    corpus = _corpus(tensors, recorded)
    official = {
        key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")
    }
    numbers = {
        key.removeprefix("output/"): value for key, value in tensors.items() if key.startswith("output/")
    }
    numbers |= {
        f"grad {parameter_name(key.removeprefix('grad/'))}": value
        for key, value in tensors.items()
        if key.startswith("grad/")
    }
    return RecordedModel(
        config,
        corpus,
        dataclasses.replace(corpus.schema, n_speakers=recorded["n_speakers"]),
        recorded["dataset"],
        renamed_state(official) | {"nodeformer.projection": tensors["projection"][0]},
        numbers,
    )


def computed_model(recorded: RecordedModel, device: str) -> dict[str, Tensor]:
    """This project's numbers under the names of `RecordedModel.numbers`, computed on `device`."""
    config = recorded.config
    model = RIGSL(config, recorded.schema)
    model.load_state_dict(recorded.state)
    model.to(device).eval()
    if torch.device(device).type == "cuda":
        model.encoder.train()  # cuDNN has no backward pass in evaluation; without dropout they are equal
    batch = BatchSource(recorded.corpus, config.modals, device).batch(np.arange(len(recorded.corpus.lengths)))
    with arithmetic(config, device, training=True):
        out = model(batch)
        weight = 1 / torch.tensor(CLASS_FREQUENCY[recorded.dataset], device=device)
        task = task_loss(out.log_prob, batch.label, weight, config.focal_gamma)
        total = task + config.penalty_weight_coff * out.penalty - link_factor(config, 0) * out.link_loss
        total.backward()
    computed = {
        "log_prob": out.log_prob,
        "penalty": out.penalty,
        "link_loss": out.link_loss,
        "task_loss": task,
        "total_loss": total,
    }
    parameters = dict(model.named_parameters())
    for name in recorded.numbers:
        if name.startswith("grad "):
            gradient = parameters[name.removeprefix("grad ")].grad
            assert gradient is not None
            computed[name] = gradient
    return {name: value.detach().cpu() for name, value in computed.items()}


def computed_softmax(tensors: dict[str, Tensor], device: str) -> dict[str, Tensor]:
    """NodeFormer's attention with and without noise, under the names of the recorded numbers."""
    data = {name: value.to(device) for name, value in tensors.items()}
    query, key, value = (data[name].transpose(1, 2) for name in ("query", "key", "value"))  # [1, H, N, D]
    real = torch.ones(1, 1, query.shape[2], 1, dtype=torch.bool, device=device)
    tau = float(tensors["tau"])
    with arithmetic(RIGSLConfig(), device, training=True):
        query, key = (projected(rows, data["projection"], tau) for rows in (query, key))
        weights = relation_weights(query, key, real)
        noise = data["exponential_noise"].permute(1, 2, 0, 3)  # [N, 1, H, K] -> [1, H, N, K]
        noisy = gumbel_weights(weights, noise, tau, real)
        out = {"out": weights @ value, "gumbel_out": noisy @ value}
    return {name: result.transpose(1, 2).cpu() for name, result in out.items()}


def _corpus(tensors: dict[str, Tensor], recorded: dict[str, Any]) -> Corpus:
    text = torch.stack([tensors[f"input/text{view}"] for view in (1, 2, 3, 4)], dim=1).numpy()
    lengths = tensors["input/length"].numpy()
    return Corpus(
        name="recorded",
        features={"l": text, "a": tensors["input/audio"].numpy(), "v": tensors["input/visual"].numpy()},
        labels=tensors["input/label"].numpy(),
        speakers=tensors["input/speaker"].numpy(),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        splits=np.zeros(len(lengths), dtype=np.uint8),
        dialogue_ids=tuple(f"d{index}" for index in range(len(lengths))),
        classes=tuple(f"class{index}" for index in range(recorded["n_classes"])),
        text_default="first" if recorded["dataset"] == "IEMOCAP" else "mean",
        text=np.frombuffer(b"x" * int(lengths.sum()), dtype=np.uint8),
        text_offsets=np.arange(int(lengths.sum()) + 1, dtype=np.int64),
        provenance={},
    )
