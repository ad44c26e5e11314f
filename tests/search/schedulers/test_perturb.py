"""How a child's hyperparameters differ from its parent's."""

from collections.abc import Iterator

import numpy as np
import optuna

from search.schedulers.perturb import explorable, explore
from search.space.space import Space


def random_params(space: Space, count: int) -> Iterator[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    return (space.suggest(study.ask()) for _ in range(count))


def test_a_child_is_inside_the_space_and_its_conditions(space: Space) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for parent in random_params(space, 40):
        for _ in range(15):
            child = explore(space, parent, rng)
            for name, parameter in space.parameters.items():
                assert (name in child) == parameter.active(child)
                assert name not in child or parameter.contains(child[name]), (name, child)
            assert child["num_L"] == parent["num_L"]
            pairs.append((parent, child))
    changed = {name for parent, child in pairs for name in parent if parent[name] != child.get(name)}
    assert changed == set(explorable(space)) == set(space.parameters) - {"num_L"}
    newly_active = [child for parent, child in pairs if not parent["use_gumbel"] and child["use_gumbel"]]
    assert {child["gumbel_k"] for child in newly_active} == {1, 2, 4, 8}


def test_numbers_move_by_the_factors_and_choices_to_a_neighbour(space: Space, monkeypatch) -> None:
    monkeypatch.setattr("search.schedulers.perturb.RESAMPLE_PROBABILITY", 0.0)
    parent = {
        "lr": 1e-2, "num_L": 1, "dropout": 0.1, "use_gumbel": True, "gumbel_k": 4, "link_loss_epoch": 2
    }  # fmt: skip
    rng = np.random.default_rng(0)
    children = [explore(space, parent, rng) for _ in range(60)]
    assert {child["lr"] for child in children} == {0.8 * 1e-2, 1.25 * 1e-2}
    assert {child["dropout"] for child in children} == {0.0, 0.2}  # a step, where the factor is less than one
    assert {child["gumbel_k"] for child in children if child["use_gumbel"]} >= {2, 8}
    assert {child["link_loss_epoch"] for child in children} == {2, 3}  # the range ends at 2


def test_the_same_seed_explores_the_same(space: Space) -> None:
    parent = next(random_params(space, 1))
    first, second = (explore(space, parent, np.random.default_rng([3, 4, 5])) for _ in range(2))
    assert first == second
