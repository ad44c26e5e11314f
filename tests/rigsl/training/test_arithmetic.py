"""`precision` and `deterministic` say how a GPU computes; settings of the process come back afterwards."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from rigsl.config import RIGSLConfig
from rigsl.model.rigsl import RIGSL
from rigsl.training.arithmetic import arithmetic
from rigsl.training.evaluation import evaluate, predict
from rigsl.training.optimiser import Adam
from rigsl.training.trainer import Training
from tests.helpers.corpora import toy_corpus

SMALL = RIGSLConfig(
    modals="ld", hidden_dim=8, num_K=1, num_L=1, nodeformer_heads=1, nb_features_dim=4, gumbel_k=1, epochs=1
)


def settings() -> tuple[str, str, bool]:
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.rnn.fp32_precision,
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.mark.parametrize(
    ("precision", "training", "products", "recurrence"),
    [
        ("fp32", True, "highest", "ieee"),
        ("bf16", True, "highest", "ieee"),
        ("tf32", True, "high", "tf32"),
        ("tf32", False, "highest", "ieee"),
    ],
)
def test_products_and_recurrent_networks_of_a_gpu_use_tf32_only_if_a_training_asks_for_it(
    precision: str, training: bool, products: str, recurrence: str
) -> None:
    before = settings()
    with arithmetic(RIGSLConfig(precision=precision), "cuda", training=training):
        assert settings() == (products, recurrence, False)
    assert settings() == before


def test_settings_come_back_after_an_error() -> None:
    before = settings()
    config = RIGSLConfig(precision="tf32", deterministic=True)
    inside = []

    def fail() -> None:
        with arithmetic(config, "cuda", training=True):
            inside.append(settings())
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert inside == [("high", "tf32", True)]
    assert settings() == before


def test_on_the_cpu_tf32_is_float32() -> None:
    corpus = toy_corpus()
    reports = [Training(SMALL.replace(precision=name), corpus).step() for name in ("fp32", "tf32")]
    assert reports[0].train_loss == reports[1].train_loss
    assert reports[0].validation == reports[1].validation


def test_pytorch_finds_its_variable_for_deterministic_products_before_the_first_product() -> None:
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


def test_training_validation_and_evaluation_are_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    forward = RIGSL.forward

    def watched(self, batch):
        seen.append((self.training, torch.are_deterministic_algorithms_enabled()))
        return forward(self, batch)

    monkeypatch.setattr(RIGSL, "forward", watched)
    corpus = toy_corpus()
    training = Training(SMALL.replace(deterministic=True), corpus)
    training.step()
    assert {mode for mode, _ in seen} == {True, False}
    evaluate(training.best_model(), corpus, "dev")
    predict(training.best_model(), corpus)
    assert all(deterministic for _, deterministic in seen)
    assert not torch.are_deterministic_algorithms_enabled()


def test_copies_of_a_model_have_their_recurrent_weights_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else cuDNN warns and joins them in every forward pass; only a GPU has such pieces."""
    joined: list[nn.Module] = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda self: joined.append(self))
    training = Training(SMALL.replace(ema=0.9), toy_corpus())
    copies = [training._average.model, training.best_model()]
    for copy in copies:
        networks = [module for module in copy.modules() if isinstance(module, nn.RNNBase)]
        assert networks
        assert all(any(network is other for other in joined) for network in networks)


def test_moments_are_restored_where_the_parameters_are() -> None:
    """A state comes from main memory, whatever the device of the training."""
    parameter = torch.ones(3, requires_grad=True)
    optimiser = Adam([parameter], lr=0.1, weight_decay=0.0)
    parameter.sum().backward()
    optimiser.step()
    elsewhere = Adam([torch.ones(3, device="meta")], lr=0.1, weight_decay=0.0)
    elsewhere.load_state_dict(optimiser.state_dict())
    assert {tensor.device.type for tensor in elsewhere.state_dict()["moments"][0]} == {"meta"}


def test_a_snapshot_does_not_change_with_the_training() -> None:
    training = Training(SMALL.replace(epochs=2), toy_corpus())
    training.step()
    snapshot = training.snapshot()
    kept = {name: value.numpy().copy() for name, value in snapshot["model"].items()}
    training.step()
    for name, value in snapshot["model"].items():
        assert np.array_equal(value.numpy(), kept[name])
        assert value.device.type == "cpu"
