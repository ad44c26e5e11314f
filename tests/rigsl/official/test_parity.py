"""The numbers recorded from the official code are met (docs/model.md; the files in tests/golden).

``RIGSL_GOLDEN_DIR`` names another folder of such files.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.golden import read_recorded, recorded_model
from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model.nodeformer import gumbel_weights, projected, relation_weights
from rigsl.model.rigsl import RIGSL
from rigsl.model.sparsify import degree_norm, hard_concrete
from rigsl.official.names import CLASS_FREQUENCY, parameter_name
from rigsl.training.losses import link_factor, task_loss

FOLDER = Path(os.environ.get("RIGSL_GOLDEN_DIR") or Path(__file__).parents[2] / "golden")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def _files(wanted):
    found = []
    for path in sorted(FOLDER.glob("*.npz")):
        keys = set(np.load(path, allow_pickle=False).files)
        kind = "model" if "config" in keys else "softmax" if "exponential_noise" in keys else "gate"
        if kind == wanted:
            found.append(pytest.param(path, id=path.stem))
    return found


def test_the_folder_holds_recorded_numbers():
    assert list(FOLDER.glob("*.npz")), f"no .npz file in {FOLDER}"


def _tensors(path):
    return read_recorded(path)[0]


@pytest.mark.parametrize("path", _files("model"))
def test_whole_model(path):
    data, recorded = read_recorded(path)
    whole = recorded_model(data, recorded)
    config = whole.config
    model = RIGSL(config, whole.schema).eval()
    missing, unexpected = model.load_state_dict(whole.state, strict=False)
    assert not missing
    assert not unexpected

    batch = BatchSource(whole.corpus, config.modals).batch(np.arange(len(recorded["lengths"])))
    out = model(batch)
    weight = 1 / torch.tensor(CLASS_FREQUENCY[recorded["dataset"]])
    task = task_loss(out.log_prob, batch.label, weight, config.focal_gamma)
    total = task + config.penalty_weight_coff * out.penalty - link_factor(config, 0) * out.link_loss
    for name, value in {
        "log_prob": out.log_prob,
        "penalty": out.penalty,
        "link_loss": out.link_loss,
        "task_loss": task,
        "total_loss": total,
    }.items():
        torch.testing.assert_close(value, data[f"output/{name}"], **CLOSE, msg=lambda m, n=name: f"{n}: {m}")

    total.backward()
    parameters = dict(model.named_parameters())
    gradients = {key.removeprefix("grad/"): value for key, value in data.items() if key.startswith("grad/")}
    assert gradients
    for name, value in gradients.items():
        torch.testing.assert_close(
            parameters[parameter_name(name)].grad, value, **CLOSE, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("path", _files("softmax"))
def test_kernelized_softmax(path):
    data = _tensors(path)
    query, key, value = (data[name].transpose(1, 2) for name in ("query", "key", "value"))  # [1, H, N, D]
    real = torch.ones(1, 1, query.shape[2], 1, dtype=torch.bool)
    tau = float(data["tau"])
    weights = relation_weights(*(projected(rows, data["projection"], tau) for rows in (query, key)), real)
    torch.testing.assert_close((weights @ value).transpose(1, 2), data["out"], **CLOSE)
    source, target = data["edge_index"]
    torch.testing.assert_close(weights[:, :, target, source].transpose(1, 2), data["edge_weight"], **CLOSE)
    torch.testing.assert_close(data["edge_weight"], data["gumbel_edge_weight"])

    noise = data["exponential_noise"].permute(1, 2, 0, 3)  # [N, 1, H, K] -> [1, H, N, K]
    noisy = gumbel_weights(weights, noise, tau, real)
    torch.testing.assert_close((noisy @ value).transpose(1, 2), data["gumbel_out"], **CLOSE)


@pytest.mark.parametrize("path", _files("gate"))
def test_edge_gate_layer(path):
    """One layer on an arbitrary graph: the functions that the model uses, in edge-list form."""
    data = _tensors(path)
    shape = {name: float(data[name]) for name in ("temperature", "gamma", "zeta")}
    state = {key.removeprefix("state/"): value for key, value in data.items() if key.startswith("state/")}
    source, target = data["edge_index"]
    x = data["x"] @ state["lin.weight"].T
    gate, config = _gate_with(state, shape, x.shape[1])
    weight, bias = gate.weights()
    scores = x @ weight.T + bias
    kind = data["edge_type"]
    logit = scores[source, kind] + scores[target, kind + 3]
    torch.testing.assert_close(logit, data["edge_logit"], **CLOSE)
    for name, noise in (("train", data["uniform_noise"]), ("eval", None)):
        gates, probability = hard_concrete(logit, torch.ones(()), uniform=noise, **shape)
        torch.testing.assert_close(probability.mean().double(), data["penalty"], **CLOSE)
        torch.testing.assert_close(gates, data[f"gate_{name}"], **CLOSE)
        degree = torch.zeros(len(x)).index_add(0, source, (gates != 0).float())
        norm = degree_norm(degree)
        value = norm[source] * norm[target] * gates
        if "gate.weight" in state:  # M3Net: the sign of a message, target first
            ends = torch.cat([x[target], x[source]], dim=1)
            value = value * torch.tanh(ends @ state["gate.weight"].T + state["gate.bias"]).squeeze(1)
        out = torch.zeros_like(x).index_add(0, target, value[:, None] * x[source])
        torch.testing.assert_close(out, data[f"out_{name}"], **CLOSE)
    assert config.temperature == shape["temperature"]


def _gate_with(state, shape, width):
    from rigsl.model.sparsify import HardConcreteGate

    config = RIGSLConfig(hidden_dim=width + width % 2, **shape)
    gate = HardConcreteGate(config)
    with torch.no_grad():
        gate.transform.weight = torch.nn.Parameter(state["transform_before.weight"])
        gate.transform.bias = torch.nn.Parameter(state["transform_before.bias"])
        for index, name in enumerate(("intra", "inter", "crossmodal")):
            gate.score[index].weight = torch.nn.Parameter(state[f"attention_{name}.weight"])
            gate.score[index].bias = torch.nn.Parameter(state[f"attention_{name}.bias"])
    return gate, config
