"""Every sampler by its name: valid proposals, what it remembers, and what it learns from a trial's end."""

import copy
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from benchmarks.efficiency.simulator import Epoch, Limits, simulate_study
from rigsl.errors import UserError
from search.record import record
from search.samplers.kernel_cache import SCORE_KERNEL
from search.samplers.registry import DEFAULT_SAMPLER, EARLIER_NAMES, SAMPLERS, make_sampler
from search.space.schedule import Schedule
from search.space.space import Space, read_space
from tests.helpers.objectives import make_space, objective

PLAIN = """
[study]
dataset = "MELD"
features = "open"
[fixed]
epochs = 4
[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true
[space.dropout]
type = "float"
low = 0.0
high = 0.6
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return make_space(tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> Space:
    (tmp_path / "plain.toml").write_text(PLAIN, encoding="utf-8")
    return read_space(tmp_path / "plain.toml")


def propose(study: optuna.Study, space: Space, sampler: str, seed: int = 0) -> optuna.Trial:
    study.sampler = make_sampler(sampler, seed, len(study.get_trials(deepcopy=False)), space)
    trial = study.ask()
    space.suggest(trial)
    return trial


def tell(study: optuna.Study, space: Space, trial: optuna.Trial, pruned: bool = False) -> None:
    """The end of a trial, complete or pruned after its third epoch."""
    scores = [epoch.score for epoch in objective(space.config(trial.params, 0).to_dict())]
    for epoch, score in enumerate(scores[:3] if pruned else scores, start=1):
        trial.report(score, epoch)
    study.tell(trial, None if pruned else scores[-1], TrialState.PRUNED if pruned else TrialState.COMPLETE)


def test_an_unknown_sampler_is_refused_with_the_names_of_all(space: Space) -> None:
    names = "gp, tpe, cmaes, random, qmc"
    with pytest.raises(UserError, match=f"^unknown sampler 'tpee'; choose one of {names}$"):
        make_sampler("tpee", 0, 0, space)
    assert DEFAULT_SAMPLER in SAMPLERS


def test_a_new_sampler_is_a_line_in_the_registry(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLERS, "mine", lambda space, seed, number: RandomSampler(seed=number))
    assert isinstance(make_sampler("mine", 0, 3, space), RandomSampler)
    with pytest.raises(UserError, match=r"qmc, mine$"):
        make_sampler("other", 0, 3, space)


@pytest.mark.parametrize("kind", ["space", "plain"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_proposal_lies_in_the_space_and_no_sampler_warns(
    sampler: str, kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    space: Space = request.getfixturevalue(kind)
    study = optuna.create_study(direction="maximize")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(16):
            trial = propose(study, space, sampler)
            params: dict = {}
            for name, parameter in space.parameters.items():
                if parameter.active(params):
                    params[name] = trial.params[name]
                    assert parameter.contains(params[name])
            assert trial.params == params
            tell(study, space, trial, pruned=number % 3 == 2)
    optuna.logging.disable_propagation()
    optuna.logging.set_verbosity(verbosity)
    assert caplog.records == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_knows_priors(sampler: str, tmp_path: Path) -> None:
    """A start point, then ten proposals: half of them from a prior at an end of the range."""
    believed = PLAIN.replace("log = true", 'log = true\nprior = 5e-2\nconfidence = "high"')
    text = believed + "[[start]]\nlr = 1e-5\ndropout = 0.0\n"
    (tmp_path / "believed.toml").write_text(text, encoding="utf-8")
    space = read_space(tmp_path / "believed.toml")
    study = optuna.create_study(direction="maximize")
    space.enqueue_starts(study)
    for _ in range(11):
        tell(study, space, propose(study, space, sampler))
    high = [trial.params["lr"] > 1e-3 for trial in study.trials]
    assert not high[0], "the start point"
    assert sum(high[2::2]) >= 4


def test_after_its_first_proposals_a_sampler_goes_its_own_way(tmp_path: Path) -> None:
    (tmp_path / "believed.toml").write_text(PLAIN + "prior = 0.1\n", encoding="utf-8")
    space = read_space(tmp_path / "believed.toml")
    own = [isinstance(make_sampler("random", 0, number, space), RandomSampler) for number in range(14)]
    assert own == [False, True] * 5 + [True] * 4


def generations(study: optuna.Study) -> list[int]:
    """The generation of CMA-ES from which each trial comes."""
    return [trial.system_attrs["cmawm:generation"] for trial in study.trials if trial.number]


def test_cmaes_goes_on_from_the_record_after_every_restart(tmp_path: Path, space: Space) -> None:
    def run(folder: Path, restart: int) -> optuna.Study:
        folder.mkdir()
        study = record.open_record(folder, "s")
        for number in range(40):
            if number % restart == 0:
                study = record.open_record(folder, "s")
            tell(study, space, propose(study, space, "cmaes"), pruned=number % 4 == 1)
        return study

    whole, restarted = run(tmp_path / "whole", 1000), run(tmp_path / "restarted", 7)
    assert [trial.params for trial in restarted.trials] == [trial.params for trial in whole.trials]
    assert generations(whole) == sorted(generations(whole))
    assert generations(whole)[-1] >= 4  # a generation of three numbers takes seven trials
    rates = np.log10([trial.params["lr"] for trial in whole.trials])
    assert np.std(rates[-10:]) < np.std(rates[:10])


def diverging(config: dict) -> list[Epoch]:
    """The test problem, but learning rates above 1e-3 diverge in their second epoch."""
    curve = objective(config)
    return [curve[0], Epoch(float("nan"), 1.0)] if config["lr"] > 1e-3 else list(curve)


@pytest.mark.parametrize(("sampler", "seeds"), [("tpe", 4), ("gp", 1)])
def test_what_diverges_is_proposed_less_and_less(space: Space, sampler: str, seeds: int) -> None:
    """Half of all configurations diverge, and scores rise up to their edge.

    A sampler that forgets failures goes on behind the edge, with nine of ten proposals.
    """
    failed: list[bool] = []
    for seed in range(seeds):
        outcome = simulate_study(
            space, diverging, limits=Limits(trials=50), sampler=sampler, schedule=Schedule("none"), seed=seed
        )
        assert outcome.study is not None
        failed += [trial.state == TrialState.FAIL for trial in outcome.study.trials[25:]]
    assert np.mean(failed) < 0.5


def test_gp_models_a_study_of_which_hardly_a_trial_is_complete(space: Space) -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(14):
        tell(study, space, propose(study, space, "gp"), pruned=number > 1)
    assert [SCORE_KERNEL in trial.system_attrs for trial in study.trials[:9]] == [False] * 7 + [True] * 2


def test_names_of_earlier_versions_stay_valid(space: Space) -> None:
    for name, now in EARLIER_NAMES.items():
        study = optuna.create_study(direction="maximize")
        for _ in range(8):
            tell(study, space, propose(study, space, now))
        proposals = []
        for sampler in (name, now):
            again = copy.deepcopy(study)
            proposals.append(propose(again, space, sampler).params)
        assert proposals[0] == proposals[1]


def test_qmc_fills_every_range_evenly(plain: Space) -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(32):
        tell(study, plain, propose(study, plain, "qmc"))
    rates = [(np.log10(trial.params["lr"]) + 5) / 4 for trial in study.trials]
    dropouts = [trial.params["dropout"] / 0.6 for trial in study.trials]
    for positions in (rates, dropouts):
        assert set(np.histogram(positions, bins=16, range=(0, 1))[0]) == {2}


def test_cmaes_needs_two_numbers(tmp_path: Path) -> None:
    text = PLAIN[: PLAIN.index("[space.dropout]")]
    (tmp_path / "one.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="cmaes needs two numbers"):
        make_sampler("cmaes", 0, 0, read_space(tmp_path / "one.toml"))
