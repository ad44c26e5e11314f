"""The average of weights is PyTorch's, bit for bit, and so is its state."""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rigsl.config import RIGSLConfig
from rigsl.model.rigsl import RIGSL
from rigsl.training.weight_average import WeightAverage
from tests.helpers.corpora import toy_corpus

CONFIG = RIGSLConfig(modals="ld", hidden_dim=8, num_L=1, num_K=1, nb_features_dim=8, nodeformer_heads=2)


def moved(model: RIGSL) -> None:
    with torch.no_grad():
        for value in [
            *model.parameters(),
            *(buffer for buffer in model.buffers() if buffer.is_floating_point()),
        ]:
            value.add_(torch.randn_like(value))


def test_it_is_the_average_of_pytorch() -> None:
    torch.manual_seed(0)
    model = RIGSL(CONFIG, toy_corpus().schema)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    ours = WeightAverage(model, 0.9)
    for _ in range(4):
        moved(model)
        theirs.update_parameters(model)
        ours.update()
        for one, other in zip(ours.model.parameters(), theirs.module.parameters(), strict=True):
            assert torch.equal(one, other)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for one, other in zip(ours.evaluated().buffers(), model.buffers(), strict=True):
        assert torch.equal(one, other)


def test_it_goes_on_from_its_state_and_from_that_of_pytorch() -> None:
    torch.manual_seed(0)
    model = RIGSL(CONFIG, toy_corpus().schema)
    theirs, ours = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)), WeightAverage(model, 0.9)
    moved(model)
    theirs.update_parameters(model)
    ours.update()
    states = [{name: value.clone() for name, value in one.state_dict().items()} for one in (theirs, ours)]
    moved(model)
    ours.update()
    for state in states:
        loaded = WeightAverage(model, 0.9)
        loaded.load_state_dict(state)
        loaded.update()
        for one, other in zip(ours.model.parameters(), loaded.model.parameters(), strict=True):
            assert torch.equal(one, other)
