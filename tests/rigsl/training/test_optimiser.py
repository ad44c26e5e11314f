"""Adam against PyTorch's own, and what it does not import."""

import subprocess
import sys

import pytest
import torch

from rigsl.training.optimiser import Adam


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (5,), (), (2, 1, 3))
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def give_gradients(parameters: list[torch.Tensor], turn: int) -> None:
    """Random ones; the last parameter has none at first, the second none later."""
    generator = torch.Generator().manual_seed(turn)
    for index, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=generator)
        without = (index == 3 and turn < 2) or (index == 1 and turn > 3)
        parameter.grad = None if without else gradient


def test_it_updates_as_pytorch_s_own_adam_even_when_saved_in_between() -> None:
    ours, theirs = parameters(), parameters()
    own = Adam(ours, lr=0.01, weight_decay=0.1)
    reference = torch.optim.Adam(theirs, lr=0.01, weight_decay=0.1, fused=True)
    for turn in range(6):
        give_gradients(ours, turn)
        give_gradients(theirs, turn)
        own.step()
        reference.step()
        for result, expected in zip(ours, theirs, strict=True):
            assert torch.equal(result, expected)
        state = own.state_dict()
        own = Adam(ours, lr=0.01, weight_decay=0.1)
        own.load_state_dict(state)
    own.zero_grad()
    before = [parameter.detach().clone() for parameter in ours]
    own.step()
    assert all(torch.equal(parameter, other) for parameter, other in zip(ours, before, strict=True))


def test_a_state_of_other_parameters_is_refused() -> None:
    ours = parameters()
    own = Adam(ours, lr=0.01, weight_decay=0.0)
    give_gradients(ours, 5)
    own.step()
    with pytest.raises(ValueError, match="belongs to other parameters"):
        Adam(ours[1:], lr=0.01, weight_decay=0.0).load_state_dict(own.state_dict())


def test_a_training_starts_without_pytorch_s_compiler() -> None:
    code = """
import sys
from rigsl.config import RIGSLConfig
from rigsl.training.trainer import Training
from tests.helpers.corpora import toy_corpus
config = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, gumbel_k=1, nb_features_dim=4, nodeformer_heads=1, ema=0.9
)
training = Training(config, toy_corpus())
training.step()
training.snapshot()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
