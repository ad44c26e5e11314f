"""What a child's training can change, and that it continues its parent's bit for bit."""

from pathlib import Path

import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.training.evaluation import evaluate
from rigsl.training.fit import fit
from rigsl.training.trainer import CONTINUABLE, Training
from tests.search.schedulers.toy_population import CONFIG

#: Another value of everything that may change in a training.
CHANGED = {
    "dropout": 0.2, "denoise_dropout": 0.1, "nodeformer_dropout": 0.1, "temperature": 1.0, "anneal_to": 0.5,
    "anneal_epoch": 3, "tau": 0.5, "use_gumbel": False, "gumbel_k": 4, "class_weight": "sqrt",
    "focal_gamma": 1.0, "penalty_weight_coff": 1e-3, "link_loss_coff": 0.1, "link_loss_epoch": 3, "lr": 3e-3,
    "l2": 1e-3, "batch_size": 8, "epochs": 5, "patience": 4,
}  # fmt: skip


@pytest.mark.parametrize("backbone", ["M3Net", "GAT", "MMGCN"])
def test_values_that_may_change_leave_the_weights_as_they_are(corpus, backbone: str) -> None:
    assert set(CHANGED) == CONTINUABLE
    base = CONFIG.replace(backbone=backbone)
    shapes = {name: value.shape for name, value in RIGSL(base, corpus.schema).state_dict().items()}
    for name, value in CHANGED.items():
        assert value != getattr(base, name)
        other = RIGSL(base.replace(**{name: value}), corpus.schema).state_dict()
        assert {key: tensor.shape for key, tensor in other.items()} == shapes, name


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_L", 2), ("hidden_dim", 16), ("sparsifier", "sparsemax"), ("ema", 0.0), ("seed", 5)],
)
def test_another_structure_or_seed_is_refused(corpus, tmp_path: Path, name: str, value) -> None:
    training = Training(CONFIG, corpus)
    training.save(tmp_path / "state.pt")
    with pytest.raises(UserError, match=rf"state\.pt: {name} cannot change from"):
        Training.load(tmp_path / "state.pt", corpus, config=CONFIG.replace(**{name: value}))
    with pytest.raises(UserError, match=f"^{name} cannot change from"):
        training.with_config(CONFIG.replace(**{name: value}))


def test_a_training_under_changed_values_is_the_manual_continuation(corpus, tmp_path: Path) -> None:
    changed = CONFIG.replace(lr=3e-3, l2=1e-3, batch_size=8, focal_gamma=1.5)
    by_hand = trained(CONFIG, corpus, 2)
    by_hand.save(tmp_path / "state.pt")
    loaded = Training.load(tmp_path / "state.pt", corpus, config=changed)
    in_memory = by_hand.with_config(changed)
    by_hand._optimiser.lr, by_hand._optimiser.weight_decay = 3e-3, 1e-3
    by_hand.config = changed  # batches and loss are read from here
    unchanged = Training.load(tmp_path / "state.pt", corpus)
    for _ in range(2):
        expected = scores(by_hand.step())
        assert scores(loaded.step()) == expected
        assert scores(in_memory.step()) == expected
        assert scores(unchanged.step()) != expected
    for name, value in by_hand.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


def test_the_model_itself_works_with_the_changed_values(corpus) -> None:
    config = CONFIG.replace(**CHANGED)
    continued = trained(CONFIG, corpus, 1).with_config(config)
    built = RIGSL(config, corpus.schema)
    built.load_state_dict(continued.model.state_dict())
    batch = continued._source.batch(corpus.dialogues("train")[:3])
    outputs = []
    for model in (continued.model.train(), built.train()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model.start_epoch(1)
            outputs.append(model(batch))
    assert torch.equal(outputs[0].log_prob, outputs[1].log_prob)
    assert torch.equal(outputs[0].penalty, outputs[1].penalty)


def test_the_last_epoch_follows_the_new_configuration(corpus) -> None:
    training = trained(CONFIG, corpus, 2)
    assert training.with_config(CONFIG.replace(epochs=2)).done
    assert not trained(CONFIG.replace(epochs=2), corpus, 2).with_config(CONFIG).done


def test_a_best_epoch_before_the_change_is_kept_with_its_own_configuration(corpus) -> None:
    training = trained(CONFIG, corpus, 3)
    continued = training.with_config(CONFIG.replace(lr=1e-12, tau=5.0, dropout=0.9))
    before = torch.get_rng_state()
    best = continued.best_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert best.config == CONFIG
    score = evaluate(best, corpus, "dev").scores.weighted_f1
    assert score == training.last_report.best_weighted_f1


def test_a_lineage_is_trained_again_bit_for_bit(corpus, tmp_path: Path) -> None:
    second, third = CONFIG.replace(lr=2e-3, dropout=0.1), CONFIG.replace(lr=5e-3, tau=0.6, batch_size=8)
    training = trained(CONFIG, corpus, 2)
    for config, until in ((second, 4), (third, 6)):
        training.save(tmp_path / "state.pt")
        training = Training.load(tmp_path / "state.pt", corpus, config=config)
        while training.epoch < until:
            training.step()
    again = fit(third, corpus, lineage=[(CONFIG, 2), (second, 4)])
    assert [report.epoch for report in again.history] == [1, 2, 3, 4, 5, 6]
    assert scores(again.history[-1]) == scores(training.last_report)
    for name, value in training.best_model().state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def trained(config: RIGSLConfig, corpus, epochs: int) -> Training:
    training = Training(config, corpus)
    for _ in range(epochs):
        training.step()
    return training


def scores(report) -> dict:
    return {name: value for name, value in report.metrics().items() if "seconds" not in name}
