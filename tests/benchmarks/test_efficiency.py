"""Studies against each other: what is played, compared and shown."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.efficiency import ablations as variants
from benchmarks.efficiency import page as efficiency_page
from benchmarks.efficiency.ablations import VARIANTS
from benchmarks.efficiency.command import OUT, counts, options
from benchmarks.efficiency.run_study import (
    GRID,
    METHODS,
    OURS,
    Result,
    Unraced,
    World,
    play,
)
from benchmarks.efficiency.summaries import (
    ABLATION_HEAD,
    CHANCE,
    HEAD,
    UNRACED,
    ablation_cells,
    cells,
    compare,
    interval,
    markdown,
    time_to,
    unraced,
)
from benchmarks.efficiency.surrogate import Surrogate, agreement
from search.space.schedule import Schedule
from tests.helpers.objectives import OPTIMUM, make_space, make_table

#: The problem has no start points; and the best trials may be the best in every view.
MAY_BE_THE_SAME = {
    "without start points",
    "pruned trials as Optuna ranks them",
    "pruned trials with their last score",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    space = replace(make_space(tmp_path_factory.mktemp("space")), schedule=Schedule("asha", grace=2))
    surrogate = Surrogate(space, make_table(space))
    return World(space, surrogate, surrogate)


def result(method: str, seed: int, end: float, *, test: float = 0.5, without: float = 0.5) -> Result:
    """A study whose best score rises evenly to `end`."""
    return Result(
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
        Unraced(end + 0.01, test, 12),
    )


def studies(method: str, ends: Sequence[float]) -> list[Result]:
    return [result(method, seed, end) for seed, end in enumerate(ends)]


def test_a_study_is_played_to_its_end_and_confirmed(world: World) -> None:
    found = play(world, OURS, METHODS[OURS], 1, 0)
    assert (np.diff(found.best) >= 0).all()
    assert 0.5 < found.best[-1] <= 1.0
    assert found.search_score <= found.best[-1]  # the finalists had their time
    assert found.trials > 10
    final = world.space.final
    assert found.trainings <= found.unraced.trainings == final.finalists * final.finalist_seeds
    again = play(world, OURS, METHODS[OURS], 1, 0)
    assert (again.best == found.best).all()
    assert (again.confirmed, again.test) == (found.confirmed, found.test)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_ours_with_something_changed(name: str, world: World) -> None:
    """On some problems a change comes to nothing."""
    found = play(world, name, VARIANTS[name], 1, 1)
    assert found.best[-1] > OPTIMUM - 0.3
    ours = play(world, OURS, METHODS[OURS], 1, 1)
    same = found.trials == ours.trials and (found.best == ours.best).all()
    assert not same or name in MAY_BE_THE_SAME


def test_a_view_decides_what_tpe_sees_of_pruned_trials(world: World) -> None:
    import optuna
    from optuna.trial import TrialState, create_trial

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

    def seen(view: object) -> list[float]:
        return [one.values[0] for one in view(study, 10).get_trials()]  # type: ignore[operator]

    assert seen(variants.last_scores) == [0.5, 0.3, 0.2]
    assert seen(variants.complete_only) == [0.5]
    ranked = seen(variants.as_ranked)
    assert ranked[0] == 0.5
    assert ranked[1] < ranked[2] < 0  # the longer one first, whatever its score
    assert [one.values[0] for one in variants.highest_rung(study, 10, least=2).get_trials()] == [0.4, 0.2]


def test_times_ranks_and_tests_of_a_comparison() -> None:
    chance = np.random.default_rng(0)
    base = 0.5 + 0.01 * chance.standard_normal(12)
    found = {
        OURS: studies(OURS, base + 0.1),
        CHANCE: studies(CHANCE, base),
        "other": studies("other", base - 0.1),
    }
    made = compare(found)
    rows = made.rows
    assert list(rows["rank"]) == [1.0, 2.0, 3.0]
    assert rows.loc[OURS, "time"].value == pytest.approx(np.median(base) / np.median(base + 0.1), abs=0.02)
    assert rows.loc["other", "time"].value == 1.0
    assert rows.loc["other", "difference"].value == pytest.approx(-0.2)
    expected = 2 * stats.wilcoxon(np.full(12, 0.1) + 1e-9 * np.arange(12)).pvalue
    assert rows.loc[CHANCE, "p"] == pytest.approx(expected, rel=0.3)
    assert np.isnan(rows.loc[OURS, "p"])
    assert made.friedman == pytest.approx(stats.friedmanchisquare(base, base - 1, base - 2).pvalue)
    assert rows.loc[OURS, "optimism"].value == pytest.approx(0.01)
    assert len(cells(made)) == 3
    assert all(len(row) == len(HEAD) for row in cells(made))


def test_fewer_studies_are_paired_with_the_first_of_ours() -> None:
    made = compare({OURS: studies(OURS, [0.5, 0.6, 0.9, 0.9]), "slow": studies("slow", [0.4, 0.5])})
    assert made.rows.loc["slow", "difference"].value == pytest.approx(-0.1)
    assert [len(row) for row in ablation_cells(made)] == [len(ABLATION_HEAD)] * 2


def test_methods_that_are_asked_for_play_as_many_studies_as_ours() -> None:
    everything = counts(30, None)
    assert {*everything} == {*METHODS, *VARIANTS}
    assert (everything[OURS], everything[CHANCE], everything["TPE"]) == (30, 30, 5)
    assert counts(30, ["TPE", CHANCE]) == {OURS: 30, "TPE": 30, CHANCE: 30}


def test_chosen_methods_leave_the_whole_comparison_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for arguments in ([], ["--methods", "TPE"], ["--methods", "TPE", "--out", "elsewhere"]):
        monkeypatch.setattr("sys.argv", ["efficiency", *arguments])
        folders.append(options().out)
    assert folders == [OUT, OUT / "methods", Path("elsewhere")]


def test_finals_without_a_race_are_a_row_of_their_own() -> None:
    ours = studies(OURS, [0.5, 0.6])
    rows = compare({OURS: ours, UNRACED: unraced(ours)}).rows
    assert rows["trainings"].tolist() == [9.0, 12.0]
    assert rows.loc[UNRACED, "confirmed"].value == pytest.approx(0.56)
    assert rows.loc[UNRACED, "difference"].value == 0.0


def test_a_time_is_the_first_at_which_the_score_was_seen() -> None:
    curves = np.stack([np.where(GRID >= 0.25, 0.6, 0.4), np.full(len(GRID), 0.4), np.full(len(GRID), 0.7)])
    assert time_to(curves, 0.5).tolist() == pytest.approx([GRID[GRID >= 0.25][0], 1.0, GRID[0]])


def test_an_interval_of_a_median_covers_it() -> None:
    inside = 0
    for seed in range(200):
        one = interval(np.random.default_rng(seed).standard_normal(30), draws=500)
        inside += one.low <= 0 <= one.high
    assert inside > 180


def test_test_agrees_with_itself_and_not_with_its_opposite(world: World) -> None:
    table = world.validation.table
    best = round(0.3 * len(np.unique(table.numbers)))
    assert agreement(table, table) == {"best": best, "best_on_test": pytest.approx(1)}
    assert agreement(table, replace(table, scores=-table.scores))["best_on_test"] == pytest.approx(-1)
    with pytest.raises(ValueError, match="same trainings"):
        agreement(table, table.part(np.arange(5)))


def test_the_page_and_the_picture(world: World, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    names = list(METHODS)
    found = {
        name: studies(name, 0.5 + 0.02 * (name == OURS) + 0.01 * chance.standard_normal(6)) for name in names
    }
    trust = {
        "rmse": 0.02,
        "spread": 0.06,
        "rank": 0.9,
        "rank_of_best": 0.6,
        "best": 124,
        "best_on_test": 0.25,
    }
    material = efficiency_page.Material(
        rivals={1: compare(found)},
        variants={1: compare({OURS: found[OURS], "grace 1": studies("grace 1", [0.5] * 6)})},
        curves={1: found},
        trust=trust,
        studies=6,
        surrogate="gp",
        trainings=70,
        hours={1: 0.3},
    )
    efficiency_page.write(tmp_path, material)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for word in (*names, "grace 1", "Friedman", "Of the 124 real configurations", "correlation of 0.25"):
        assert word.replace("&", "&amp;") in page
    assert "http" not in page.replace("http://www.w3.org", "").split("<body>")[1].split("<script>")[0]
    assert (tmp_path / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    assert "better in the median" in efficiency_page.claim(material)
    assert markdown(("a", "b"), [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"
