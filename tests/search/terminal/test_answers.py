"""Configuration, taught and average on the terminal: one aligned line for each."""

import json
from pathlib import Path

import pytest

from rigsl.console import make_console
from rigsl.wording import points
from search.confirm.final_record import read_final_record
from search.plan.plan import Plan
from search.report.comparison import compare_studies
from search.results import Outcome
from search.terminal.comparison import print_comparison
from search.terminal.status import print_status
from search.terminal.summary import print_outcome
from tests.helpers.run_folders import make_export, make_final, make_plan, make_study

NAMES = ("configuration", "taught", "average")


def finished_study(runs: Path, name: str = "one", **options) -> tuple[Plan, Outcome]:
    """A study with its final stage, and how its run ended."""
    plan = make_plan(runs, name)
    study = make_study(plan, "ccp")
    make_final(plan, study, **options)
    exported = make_export(plan, study)
    assert exported is not None
    exported.metrics["ending"] = "all done"
    return plan, Outcome(plan=plan, ending="all done", interrupted=None, counts={}, exported=exported)


def lines_of(shown: str) -> dict[str, str]:
    """The lines that begin with the name of an answer, without what is before it."""
    lines = [line.removeprefix("test").strip() for line in shown.splitlines()]
    return {line.split()[0]: line for line in lines if line.startswith(NAMES)}


def test_the_end_of_a_study_has_an_aligned_line_for_each_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, outcome = finished_study(tmp_path, answers=("taught", "average"))
    assert print_outcome(outcome, None, make_console()) == 0
    shown = capsys.readouterr().out
    lines, test = lines_of(shown), read_final_record(plan.folder).test
    assert tuple(lines) == NAMES
    for name, record in zip(NAMES, (test, test.taught, test.average), strict=True):
        bootstrap = record.difference.bootstrap
        assert f"  {points(bootstrap.interval.value)}  (95 % interval " in lines[name]
        assert f"p = {bootstrap.p:.3f})" in lines[name]
    assert len({line.index("(95 %") for line in lines.values()}) == 1
    assert "All 3 answers were fixed before test was opened, and were opened together" in shown
    average = f"{100 * test.average.winner.weighted_f1.mean:.2f} %"
    trial = f"trial {outcome.exported.metrics['trial']}"
    assert any(f"{trial}, average" in line and average in line for line in shown.splitlines())
    assert "winner minus baseline on test: " not in shown


def test_a_study_with_the_configuration_alone_ends_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, outcome = finished_study(tmp_path)
    assert print_outcome(outcome, None, make_console()) == 0
    print_status(plan.folder, make_console())
    print_comparison(
        compare_studies([plan.folder, finished_study(tmp_path, "two")[0].folder]), make_console()
    )
    shown = capsys.readouterr().out
    assert lines_of(shown) == {}
    assert shown.count("winner minus baseline on test: ") == 1
    assert "answer" not in shown
    assert "\ntest " not in shown


def test_without_a_baseline_there_is_no_difference_to_print(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, outcome = finished_study(tmp_path, answers=("average",))
    content = json.loads((plan.folder / "final.json").read_text(encoding="utf-8"))
    for part in (content["test"], content["test"]["average"]):
        part |= {"baseline": None, "difference": None}
    (plan.folder / "final.json").write_text(json.dumps(content), encoding="utf-8")
    assert print_outcome(outcome, None, make_console()) == 0
    shown = capsys.readouterr().out
    assert lines_of(shown) == {}
    assert "winner minus baseline" not in shown
    assert f"trial {outcome.exported.metrics['trial']}, average" in shown
    assert "Both answers were fixed before test was opened" in shown
    print_status(plan.folder, make_console())
    lines = lines_of(capsys.readouterr().out)
    assert tuple(lines) == ("configuration", "average")
    assert "baseline" not in "".join(lines.values())


def test_the_status_has_a_line_for_each_answer_and_says_when_test_was_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, _ = finished_study(tmp_path, answers=("taught", "average"), openings=2)
    print_status(plan.folder, make_console())
    shown = capsys.readouterr().out
    lines, test = lines_of(shown), read_final_record(plan.folder).test
    assert tuple(lines) == NAMES
    assert f"{100 * test.taught.winner.weighted_f1.mean:.2f} ± " in lines["taught"]
    gap = test.average.difference.bootstrap
    assert lines["average"].endswith(f"{points(gap.interval.value)} on the baseline, p = {gap.p:.3f}")
    assert shown.count("\ntest    configuration") == 1
    assert len({line.index(" to ") for line in lines.values()}) == 1
    assert "test was opened 2 times, so these scores are no longer unbiased" in shown


def test_the_status_of_a_study_with_a_damaged_final_record_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, _ = finished_study(tmp_path)
    (plan.folder / "final.json").write_text("{", encoding="utf-8")
    print_status(plan.folder, make_console())
    shown = capsys.readouterr().out
    assert f"test    {plan.folder / 'final.json'}: is damaged" in shown
    assert "trial 0 complete" in shown


def test_a_comparison_prints_the_answers_of_every_study_that_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with_answers, _ = finished_study(tmp_path, "three", answers=("taught", "average"), folds=(0, 1, 2))
    plain, _ = finished_study(tmp_path, "plain")
    print_comparison(compare_studies([with_answers.folder, plain.folder]), make_console())
    shown = capsys.readouterr().out
    assert tuple(lines_of(shown)) == NAMES
    assert "three, on test:" in shown
    assert "plain, on test:" not in shown
    assert "Average: mean probabilities of the finalists' trainings." in shown
    assert "finalists scored on held-out folds of train" in shown
