"""A configuration that does not fit into a worker's memory is never handed to one."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from rigsl.memory import Shapes, estimate_peak_bytes
from search.execution.searcher import StudySearcher
from search.record import record
from search.record.learning_curve import METRIC
from search.resources.memory_limit import excess, largest
from search.space.budget import Budget
from search.space.space import Space, read_space
from tests.helpers.toy_study import make_corpus

WIDTH = """
[space.hidden_dim]
type = "choice"
values = [8, 16, 4096]

[[start]]
hidden_dim = 8
"""


@pytest.fixture
def space(home: Path) -> Space:
    path = home / "space.toml"
    text = path.read_text(encoding="utf-8").replace("hidden_dim = 8\n", "").replace("[[start]]", WIDTH, 1)
    path.write_text(text, encoding="utf-8")
    return read_space(path)


def test_a_configuration_that_does_not_fit_is_a_violated_constraint_and_not_run(space: Space) -> None:
    corpus = make_corpus()
    small = estimate_peak_bytes(space.config(space.starts[0], 0), Shapes.of(corpus))
    study = optuna.create_study(direction="maximize")
    searcher = StudySearcher(
        study, space, sampler="tpe", seed=0, budget=Budget(trials=30), workers=1, overrides={},
        excess=excess(corpus, "cpu", 20 * small),
    )  # fmt: skip
    for index in range(30):
        given = searcher.suggest(str(index))
        assert given["config"]["hidden_dim"] < 4096
        searcher.on_trial_complete(str(index), {"epoch": 1, METRIC: 0.5, "epochs": 1, "ended": "by itself"})
    refused = [trial for trial in study.trials if record.NOT_RUN in trial.user_attrs]
    assert refused
    for trial in refused:
        assert trial.params["hidden_dim"] == 4096
        assert trial.state == TrialState.PRUNED
        assert trial.constraints["memory"] > 0
        assert "more memory than a worker has" in trial.user_attrs[record.NOT_RUN]
    late = [trial for trial in study.trials if trial.number >= 15 and trial in refused]
    assert len(late) < len(refused), "the sampler learns to avoid them"
    assert record.counts(study)["complete"] == 30


def test_every_configuration_fits_if_the_memory_is_unknown(space: Space) -> None:
    huge = space.config(space.starts[0], 0, hidden_dim=4096)
    assert excess(make_corpus(), "cpu", 0)(huge) == 0


def test_the_largest_of_a_space_is_at_least_as_large_as_any_of_its_draws(space: Space) -> None:
    corpus = make_corpus()
    largest_bytes, shapes = largest(space, corpus, "cpu"), Shapes.of(corpus)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.config(space.suggest(study.ask()), 0) for _ in range(100)]
    needs = [estimate_peak_bytes(config, shapes) for config in drawn]
    assert max(needs) <= largest_bytes <= 1.2 * max(needs)
