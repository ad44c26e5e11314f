"""Samplers live in the record: made anew for every trial, they go on where they were."""

import warnings
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from rigsl.errors import UserError
from search import record
from search.budget import Budget
from search.curve import METRIC
from search.observed import observe
from search.sampler import GENERATION, LONG, SAMPLERS, choose, make_sampler
from search.searcher import StudySearcher
from search.space import Space, read_space

from .synthetic import make_space, objective

NUMBERS = """
[study]
dataset = "MELD"
features = "open"
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
[space.num_L]
type = "int"
low = 1
high = 6
"""


@pytest.fixture
def numbers(tmp_path: Path) -> Space:
    path = tmp_path / "numbers.toml"
    path.write_text(NUMBERS, encoding="utf-8")
    return read_space(path)


def run(study: optuna.Study, space: Space, sampler: str, trials: int) -> StudySearcher:
    searcher = StudySearcher(study, space, sampler=sampler, seed=1, budget=Budget(), workers=1, overrides={})
    for index in range(trials):
        config = searcher.suggest(str(index))["config"]
        score = max(epoch.score for epoch in objective(config | {"tau": 0.5, "use_gumbel": True}))
        searcher.on_trial_complete(str(index), {"epoch": 9, METRIC: score, "epochs": 9, "ended": "by itself"})
    return searcher


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_sampler_warns_or_leaves_the_space(sampler: str, tmp_path: Path) -> None:
    space, study = make_space(tmp_path), optuna.create_study(direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(study, space, sampler, 16)
    for trial in study.trials:
        assert all(space.parameters[name].contains(value) for name, value in trial.params.items())
        assert ("tau" in trial.params) == trial.params["use_gumbel"]


def test_cmaes_goes_on_from_the_record(tmp_path: Path, numbers: Space) -> None:
    study = record.open_record(tmp_path, "s")
    run(study, numbers, "cmaes", 20)
    run(record.open_record(tmp_path, "s"), numbers, "cmaes", 20)
    generations = [
        trial.system_attrs[GENERATION] for trial in record.open_record(tmp_path, "s").trials
        if GENERATION in trial.system_attrs
    ]  # fmt: skip
    assert generations == sorted(generations)
    assert generations[-1] >= 4, "a resume does not begin anew"


def test_qmc_fills_the_range_evenly(numbers: Space) -> None:
    study = optuna.create_study(direction="maximize")
    run(study, numbers, "qmc", 32)
    import numpy as np

    places = (np.log10([trial.params["lr"] for trial in study.trials]) + 5) / 4
    counts, _ = np.histogram(places, bins=8, range=(0, 1))
    assert counts.max() - counts.min() <= 2


def test_cmaes_without_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(NUMBERS.split("[space.num_L]")[0], encoding="utf-8")
    with pytest.raises(UserError, match="cmaes needs two numbers"):
        make_sampler("cmaes", 0, 0, read_space(path))


def test_auto_looks_at_the_space_and_the_length(tmp_path: Path, numbers: Space) -> None:
    assert choose(make_space(tmp_path), 0) == "tpe"
    assert choose(numbers, 0) == "gp"
    assert choose(numbers, LONG) == "cmaes"


def test_a_stopped_trial_is_worth_what_it_would_have_reached(numbers: Space) -> None:
    study = optuna.create_study(direction="maximize")

    def told(curve: list[float], state: TrialState, reason: str = "") -> None:
        trial = study.ask()
        numbers.suggest(trial)
        for epoch, value in enumerate(curve, 1):
            trial.report(value, epoch)
        if reason:
            trial.set_user_attr(record.REASON, reason)
        study.tell(trial, curve[-1] if state == TrialState.COMPLETE else None, state=state)

    told([0.3, 0.5, 0.6], TrialState.COMPLETE)
    told([0.2, 0.3, 0.5], TrialState.COMPLETE)
    told([0.1], TrialState.PRUNED, "stopped")
    told([0.4], TrialState.FAIL, "diverged: the loss is not finite")
    told([0.4], TrialState.FAIL, "worker lost twice")
    seen = observe(study, 100).get_trials(deepcopy=False)
    assert {trial.number: round(trial.value, 6) for trial in seen} == {0: 0.6, 1: 0.5, 2: 0.4, 3: 0.4}
    assert [trial.number for trial in observe(study, 2).get_trials(deepcopy=False)] == [2, 3]
