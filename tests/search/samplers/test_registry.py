"""Proposals: what each sampler may propose, what it remembers, and what it learns from a trial's end."""

import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from benchmarks.efficiency.simulator import Epoch, Limits, simulate_study
from rigsl.errors import UserError
from search.record import record
from search.samplers.gp_sampler import SCORES
from search.samplers.imputed_scores import UNCERTAIN, observe
from search.samplers.registry import SAMPLERS, SHORT, choose, make_sampler
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


def tell(study: optuna.Study, space: Space, trial: optuna.Trial, stopped: bool = False) -> None:
    """The end of a trial, complete or stopped after its third epoch."""
    scores = [epoch.score for epoch in objective(space.config(trial.params, 0).to_dict())]
    for epoch, score in enumerate(scores[:3] if stopped else scores, start=1):
        trial.report(score, epoch)
    study.tell(trial, None if stopped else scores[-1], TrialState.PRUNED if stopped else TrialState.COMPLETE)


@pytest.mark.parametrize("kind", ["space", "plain"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_proposal_lies_in_the_space_and_nobody_warns(
    sampler: str, kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    space: Space = request.getfixturevalue(kind)
    study = optuna.create_study(direction="maximize")
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(16):
            trial = propose(study, space, sampler)
            drawn: dict = {}
            for name, parameter in space.parameters.items():
                if parameter.active(drawn):
                    drawn[name] = trial.params[name]
                    assert parameter.contains(drawn[name])
            assert trial.params == drawn
            tell(study, space, trial, stopped=number % 3 == 2)
    optuna.logging.disable_propagation()
    optuna.logging.set_verbosity(told)
    assert caplog.records == []


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
            tell(study, space, propose(study, space, "cmaes"), stopped=number % 4 == 1)
        return study

    whole, restarted = run(tmp_path / "whole", 1000), run(tmp_path / "restarted", 7)
    assert [trial.params for trial in restarted.trials] == [trial.params for trial in whole.trials]
    assert generations(whole) == sorted(generations(whole))
    assert generations(whole)[-1] >= 4  # a generation of three numbers takes seven trials
    rates = np.log10([trial.params["lr"] for trial in whole.trials])
    assert np.std(rates[-10:]) < np.std(rates[:10])


def trial_of(state: TrialState, curve: list[float], lr: float, reason: str = "") -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        value=curve[-1] if state == TrialState.COMPLETE else None,
        params={"lr": lr},
        distributions={"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)},
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs={record.REASON: reason},
    )


def shown(study: optuna.Study, most: int = 100) -> dict[int, float | None]:
    return {trial.number: trial.value for trial in observe(study, most).get_trials(deepcopy=False)}


def test_a_stopped_trial_is_seen_with_the_gain_that_complete_ones_had() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial_of(TrialState.PRUNED, [0.5], 1e-3))
    assert shown(study) == {0: 0.5}  # nothing is known about gains yet
    for end in (0.3, 0.4, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, [0.2, end], 1e-3))
    study.add_trial(trial_of(TrialState.PRUNED, [], 1e-3))  # says nothing
    assert shown(study) == {0: pytest.approx(0.7), 1: 0.3, 2: 0.4, 3: 0.6}
    assert study.trials[0].state == TrialState.PRUNED  # the record itself is as it was


def test_lines_lead_from_stop_to_stop_and_tell_how_sure_they_are() -> None:
    """Low scores gain more: by a third of what they lack to 0.7, twice; ends are 0.02 off, up and down."""
    study = optuna.create_study(direction="maximize")
    firsts = np.linspace(0.1, 0.6, 40)
    for number, first in enumerate(firsts):
        curve = [0.7 - (0.7 - first) * (2 / 3) ** epoch for epoch in range(3)]
        curve[2] += 0.02 * (-1) ** (number // 4)
        ended = 3 - number % 4 if number % 4 < 3 else 1
        state = TrialState.COMPLETE if ended == 3 else TrialState.PRUNED
        study.add_trial(trial_of(state, curve[:ended], 1e-3))
    trials = observe(study, 100).get_trials(deepcopy=False)
    true = 0.7 - (0.7 - firsts) * (2 / 3) ** 2
    for trial, end, original in zip(trials, true, study.trials, strict=True):
        assert trial.value == pytest.approx(end, abs=0.03)
        sure = original.state == TrialState.COMPLETE
        assert np.sqrt(trial.user_attrs.get(UNCERTAIN, 0.0)) == (
            0 if sure else pytest.approx(0.02, abs=0.005)
        )
    assert UNCERTAIN not in study.trials[1].user_attrs


def test_only_a_failure_of_the_configuration_itself_counts_against_it() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial_of(TrialState.COMPLETE, [0.3], 1e-3))
    study.add_trial(trial_of(TrialState.FAIL, [0.2], 1e-1, "diverged: the loss is not finite"))
    study.add_trial(trial_of(TrialState.FAIL, [], 1e-1, "out of memory: OutOfMemoryError"))
    study.add_trial(trial_of(TrialState.FAIL, [0.2], 1e-1, "worker lost twice"))
    too_large = trial_of(TrialState.PRUNED, [], 1e-2)
    too_large.set_constraint("memory", 1.0)
    study.add_trial(too_large)
    assert shown(study) == {0: 0.3, 1: 0.3, 2: 0.3, 4: 0.3}
    assert not any(trial.constraints for trial in observe(study, 100).get_trials(deepcopy=False))


def test_of_many_trials_the_best_and_the_latest_are_seen() -> None:
    study = optuna.create_study(direction="maximize")
    for score in (0.9, 0.8, 0.7, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        study.add_trial(trial_of(TrialState.COMPLETE, [score], 1e-3))
    study.ask()
    assert list(shown(study, most=8)) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert list(shown(study, most=4)) == [0, 6, 7, 8, 9]


def diverging(config: dict) -> list[Epoch]:
    """The synthetic problem, but learning rates above 1e-3 diverge in their second epoch."""
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
        tell(study, space, propose(study, space, "gp"), stopped=number > 1)
    assert [SCORES in trial.system_attrs for trial in study.trials[:9]] == [False] * 7 + [True] * 2


def test_auto_takes_what_fits_the_space_and_the_trial(space: Space, tmp_path: Path) -> None:
    assert [choose(space, number) for number in (0, SHORT - 1, SHORT)] == ["gp", "gp", "cmaes"]
    few = PLAIN.replace(
        "[space.lr]", '[space.backbone]\ntype = "choice"\nvalues = ["GCN", "GAT"]\n[space.lr]'
    )
    (tmp_path / "few.toml").write_text(few.partition("[space.dropout]")[0], encoding="utf-8")
    later = {choose(read_space(tmp_path / "few.toml"), number) for number in range(SHORT, 200)}
    assert later == {"tpe"}


def test_qmc_fills_every_range_evenly(plain: Space) -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(32):
        tell(study, plain, propose(study, plain, "qmc"))
    rates = [(np.log10(trial.params["lr"]) + 5) / 4 for trial in study.trials]
    dropouts = [trial.params["dropout"] / 0.6 for trial in study.trials]
    for places in (rates, dropouts):
        assert set(np.histogram(places, bins=16, range=(0, 1))[0]) == {2}


def test_cmaes_needs_two_numbers(tmp_path: Path) -> None:
    text = PLAIN[: PLAIN.index("[space.dropout]")]
    (tmp_path / "one.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="cmaes needs two numbers"):
        make_sampler("cmaes", 0, 0, read_space(tmp_path / "one.toml"))
