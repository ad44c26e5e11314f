"""Simulated studies: how they run, how methods are compared, and the page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from scipy import stats

from benchmarks.efficiency import ablations, page
from benchmarks.efficiency.ablations import ABLATIONS
from benchmarks.efficiency.command import OUT, options, study_counts
from benchmarks.efficiency.run_study import (
    GRID,
    METHODS,
    OURS,
    StudyResult,
    SurrogateBenchmark,
    WithoutRacing,
    run_study,
)
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    BASELINE_HEAD,
    RANDOM,
    WITHOUT_RACING,
    ablation_cells,
    baseline_cells,
    compare_methods,
    interval,
    time_to,
    without_racing,
)
from benchmarks.efficiency.surrogate import Surrogate, agreement
from benchmarks.markdown import markdown
from search.space.schedule import Schedule
from tests.helpers.objectives import OPTIMUM, make_space, make_table

#: Ablations that may change nothing here: the problem has no start points, and the best trials may be the
#: best in every view.
MAY_CHANGE_NOTHING = {
    "without start points",
    "pruned trials as Optuna ranks them",
    "pruned trials with their last score",
}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> SurrogateBenchmark:
    space = replace(make_space(tmp_path_factory.mktemp("space")), schedule=Schedule("asha", grace=4))
    surrogate = Surrogate(space, make_table(space))
    return SurrogateBenchmark(space, surrogate, surrogate)


def result(method: str, seed: int, end: float, *, test: float = 0.5, without: float = 0.5) -> StudyResult:
    """A study whose best score rises linearly to `end`."""
    return StudyResult(
        method,
        1,
        seed,
        end * GRID,
        end,
        10,
        100,
        end,
        end - 0.01,
        end,
        test,
        without,
        9,
        WithoutRacing(end + 0.01, test, 12),
    )


def studies(method: str, ends: Sequence[float]) -> list[StudyResult]:
    return [result(method, seed, end) for seed, end in enumerate(ends)]


def test_a_study_uses_its_budget_and_confirms_its_finalists(benchmark: SurrogateBenchmark) -> None:
    study = run_study(benchmark, OURS, METHODS[OURS], 1, 0)
    assert (np.diff(study.best) >= 0).all()
    assert 0.5 < study.best[-1] <= 1.0
    assert study.search_score <= study.best[-1]  # part of the budget is the finalists'
    assert study.trials > 10
    final = benchmark.space.final
    assert study.trainings <= study.unraced.trainings == final.finalists * final.finalist_seeds
    again = run_study(benchmark, OURS, METHODS[OURS], 1, 0)
    assert (again.best == study.best).all()
    assert (again.confirmed, again.test) == (study.confirmed, study.test)


@pytest.fixture(scope="module")
def ours(benchmark: SurrogateBenchmark) -> StudyResult:
    return run_study(benchmark, OURS, METHODS[OURS], 1, 1)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_the_search(
    name: str, benchmark: SurrogateBenchmark, ours: StudyResult
) -> None:
    ablation = run_study(benchmark, name, ABLATIONS[name], 1, 1)
    assert ablation.best[-1] > OPTIMUM - 0.3
    same = ablation.trials == ours.trials and (ablation.best == ours.best).all()
    assert not same or name in MAY_CHANGE_NOTHING


def test_a_view_decides_how_the_sampler_sees_pruned_trials() -> None:
    def trial(state: TrialState, *scores: float) -> optuna.trial.FrozenTrial:
        value = scores[-1] if state == TrialState.COMPLETE else None
        return create_trial(state=state, value=value, intermediate_values=dict(enumerate(scores, 1)))

    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            trial(TrialState.COMPLETE, 0.2, 0.4, 0.5),
            trial(TrialState.PRUNED, 0.3),
            trial(TrialState.PRUNED, 0.1, 0.2),
            trial(TrialState.FAIL),
        ]
    )

    def scores(view: Callable[..., optuna.Study], **options: int) -> list[float]:
        return [trial.values[0] for trial in view(study, 10, **options).get_trials()]

    assert scores(ablations.last_scores) == [0.5, 0.3, 0.2]
    assert scores(ablations.complete_only) == [0.5]
    ranked = scores(ablations.as_ranked)
    assert ranked[0] == 0.5
    assert ranked[1] < ranked[2] < 0  # the longer trial ranks higher, whatever its score
    assert scores(ablations.highest_rung, min_trials=2) == [0.4, 0.2]


def test_times_ranks_and_tests_of_a_comparison() -> None:
    rng = np.random.default_rng(0)
    base = 0.5 + 0.01 * rng.standard_normal(12)
    comparison = compare_methods(
        {
            OURS: studies(OURS, base + 0.1),
            RANDOM: studies(RANDOM, base),
            "other": studies("other", base - 0.1),
        }
    )
    rows = comparison.rows
    assert list(rows["rank"]) == [1.0, 2.0, 3.0]
    assert rows.loc[OURS, "time"].value == pytest.approx(np.median(base) / np.median(base + 0.1), abs=0.02)
    assert rows.loc["other", "time"].value == 1.0
    assert rows.loc["other", "difference"].value == pytest.approx(-0.2)
    expected = 2 * stats.wilcoxon(np.full(12, 0.1) + 1e-9 * np.arange(12)).pvalue
    assert rows.loc[RANDOM, "p"] == pytest.approx(expected, rel=0.3)
    assert np.isnan(rows.loc[OURS, "p"])
    assert comparison.friedman == pytest.approx(stats.friedmanchisquare(base, base - 1, base - 2).pvalue)
    assert rows.loc[OURS, "selection_bias"].value == pytest.approx(0.01)
    assert len(baseline_cells(comparison)) == 3
    assert all(len(row) == len(BASELINE_HEAD) for row in baseline_cells(comparison))


def test_fewer_studies_are_paired_with_the_first_of_ours() -> None:
    comparison = compare_methods(
        {OURS: studies(OURS, [0.5, 0.6, 0.9, 0.9]), "slow": studies("slow", [0.4, 0.5])}
    )
    assert comparison.rows.loc["slow", "difference"].value == pytest.approx(-0.1)
    assert [len(row) for row in ablation_cells(comparison)] == [len(ABLATION_HEAD)] * 2


def test_chosen_methods_run_as_many_studies_as_ours() -> None:
    everything = study_counts(30, None)
    assert {*everything} == {*METHODS, *ABLATIONS}
    assert (everything[OURS], everything[RANDOM], everything["TPE"]) == (30, 30, 5)
    assert study_counts(30, ["TPE", RANDOM]) == {OURS: 30, "TPE": 30, RANDOM: 30}


def test_chosen_methods_do_not_overwrite_the_whole_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for arguments in ([], ["--methods", "TPE"], ["--methods", "TPE", "--out", "elsewhere"]):
        monkeypatch.setattr("sys.argv", ["efficiency", *arguments])
        folders.append(options().out)
    assert folders == [OUT, OUT / "methods", Path("elsewhere")]


def test_finals_without_racing_are_an_ablation_of_their_own() -> None:
    ours = studies(OURS, [0.5, 0.6])
    rows = compare_methods({OURS: ours, WITHOUT_RACING: without_racing(ours)}).rows
    assert rows["trainings"].tolist() == [9.0, 12.0]
    assert rows.loc[WITHOUT_RACING, "confirmed"].value == pytest.approx(0.56)
    assert rows.loc[WITHOUT_RACING, "difference"].value == 0.0


def test_the_time_to_a_score_is_the_first_at_which_it_is_reached() -> None:
    curves = np.stack([np.where(GRID >= 0.25, 0.6, 0.4), np.full(len(GRID), 0.4), np.full(len(GRID), 0.7)])
    assert time_to(curves, 0.5).tolist() == pytest.approx([GRID[GRID >= 0.25][0], 1.0, GRID[0]])


def test_the_interval_of_a_median_covers_it() -> None:
    inside = 0
    for seed in range(200):
        median = interval(np.random.default_rng(seed).standard_normal(30), draws=500)
        inside += median.low <= 0 <= median.high
    assert inside > 180


def test_test_agrees_with_itself_and_not_with_its_opposite(benchmark: SurrogateBenchmark) -> None:
    table = benchmark.validation.table
    best = round(0.3 * len(np.unique(table.numbers)))
    assert agreement(table, table) == {"best": best, "best_on_test": pytest.approx(1)}
    assert agreement(table, replace(table, scores=-table.scores))["best_on_test"] == pytest.approx(-1)
    with pytest.raises(ValueError, match="same trainings"):
        agreement(table, table.part(np.arange(5)))


def test_the_page_and_the_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = list(METHODS)
    by_method = {
        name: studies(name, 0.5 + 0.02 * (name == OURS) + 0.01 * rng.standard_normal(6)) for name in names
    }
    errors = {
        "rmse": 0.02,
        "spread": 0.06,
        "rank_correlation": 0.9,
        "rank_correlation_of_best": 0.6,
        "best": 124,
        "best_on_test": 0.25,
    }
    data = page.PageData(
        baselines={1: compare_methods(by_method)},
        ablations={1: compare_methods({OURS: by_method[OURS], "grace 1": studies("grace 1", [0.5] * 6)})},
        studies={1: by_method},
        surrogate_errors=errors,
        study_count=6,
        surrogate="gp",
        trainings=70,
        hours={1: 0.3},
        handed_over=[["ours: average", *["61.00 (60.00 to 62.00)"] * 5]],
    )
    page.write(tmp_path, data)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for word in (
        *names,
        "ours: average",
        "grace 1",
        "Friedman",
        "Of the 124 real configurations",
        "correlation of 0.25",
    ):
        assert word.replace("&", "&amp;") in html
    assert "http" not in html.replace("http://www.w3.org", "").split("<body>")[1].split("<script>")[0]
    assert (tmp_path / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    assert "better in the median" in page.claim(data)
    assert markdown(("a", "b"), [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"
