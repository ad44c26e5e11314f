"""What a study takes over from another one: start points and observations."""

from pathlib import Path

import pytest
from optuna.trial import create_trial

from rigsl.config import RIGSLConfig
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.warm_start import _nearest
from search.record import record
from search.record.lineage import PARENT, PARENT_EPOCH
from search.space.space import Space, read_space
from search.study import write_folder
from tests.helpers.played_study import PlayedStudy

SPACE = """
[study]
dataset = "MELD"
features = "open"
[fixed]
modals = "ld"
[space.lr]
type = "float"
low = 1e-4
high = 1e-2
log = true
[space.dropout]
type = "float"
low = 0.0
high = 0.3
step = 0.1
[space.hidden_dim]
type = "int"
low = 64
high = 128
step = 32
[space.batch_size]
type = "choice"
values = [8, 16, 32]
[space.class_weight]
type = "choice"
values = ["sqrt", "none"]
[space.use_gumbel]
type = "choice"
values = [true, false]
[space.gumbel_k]
type = "choice"
values = [1, 4]
when = { use_gumbel = true }
[budget.cpu]
trials = 5
"""
INSIDE = {
    "lr": 1e-3,
    "dropout": 0.1,
    "hidden_dim": 96,
    "batch_size": 16,
    "class_weight": "none",
    "use_gumbel": True,
    "gumbel_k": 4,
}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "space.toml"
    path.write_text(SPACE, encoding="utf-8")
    return read_space(path)


def test_a_configuration_inside_the_space_stays_as_it_is(space: Space) -> None:
    assert _nearest(space, INSIDE) == INSIDE


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("lr", 0.5, 1e-2),
        ("dropout", 0.16, 0.2),
        ("dropout", 0.5, 0.3),  # three steps of 0.1 are more than 0.3 in floating point
        ("hidden_dim", 512, 128),
        ("hidden_dim", 84, 96),
        ("batch_size", 64, 32),
        ("class_weight", "inverse", "sqrt"),
        ("gumbel_k", 30, 4),
    ],
)
def test_a_value_outside_is_replaced_by_the_nearest_one(
    space: Space, name: str, value: object, nearest: object
) -> None:
    assert _nearest(space, INSIDE | {name: value}) == INSIDE | {name: nearest}


def test_a_parameter_whose_condition_does_not_hold_is_left_out(space: Space) -> None:
    params = _nearest(space, INSIDE | {"use_gumbel": False})
    assert params == {name: value for name, value in INSIDE.items() if name != "gumbel_k"} | {
        "use_gumbel": False
    }


def test_a_value_that_the_other_study_did_not_search_is_the_default(space: Space) -> None:
    params = _nearest(space, {name: value for name, value in INSIDE.items() if name != "batch_size"})
    assert params is not None
    assert params["batch_size"] == RIGSLConfig().batch_size


def test_the_scores_of_children_are_no_observations_of_their_configurations(home: Path) -> None:
    """A child of population based training continues its parent's weights under other hyperparameters."""
    earlier = PlayedStudy(home, "http://127.0.0.1:9", "first")
    earlier.play([], 2)
    parent = earlier.study.trials[1]
    for lr, best_epoch in ((2e-3, 3), (3e-3, 1)):  # it improved on its parent; or owes its score to it
        child = create_trial(
            params=parent.params | {"lr": lr},
            distributions=parent.distributions,
            value=0.9,
            intermediate_values={1: 0.5, 2: 0.6, 3: 0.9},
            user_attrs={PARENT: 1, PARENT_EPOCH: 2, "best_epoch": best_epoch, "epochs": 3},
        )
        earlier.study.add_trial(child)
    options = SearchOptions(
        space=home / "space.toml", data_dir=home / "data", trials=9, study="second", start_from="first"
    )
    plan = prepare(options)
    plan.folder.mkdir()
    study = write_folder(plan, record.open_record(plan.folder, plan.name))
    observed = [trial for trial in study.trials if record.NOT_RUN in trial.user_attrs]
    assert {trial.user_attrs[record.NOT_RUN] for trial in observed} == {
        "observed in study first, trial 0",
        "observed in study first, trial 1",
    }
    starts = [trial.system_attrs["fixed_params"]["lr"] for trial in study.trials if trial not in observed]
    assert 2e-3 in starts, "a good configuration is worth a training of its own"
    assert 3e-3 not in starts, "nothing is known about it"
