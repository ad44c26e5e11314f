"""Whether a search can be trusted, on the terminal: a line for each check, and what was expected of test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rigsl.console import make_console
from rigsl.wording import percent
from search.confirm.final_record import read_final_record
from search.record import record
from search.terminal.status import print_status
from search.terminal.summary import print_outcome
from search.terminal.trust import expectation_line, status_line, trust_lines
from search.trust.assess import assess
from tests.helpers.simulated_finals import World, add_trust, simulate
from tests.search.terminal.test_answers import finished_study


def test_the_end_of_a_study_and_its_status_say_whether_it_can_be_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, outcome = finished_study(tmp_path)
    trust = assess(simulate(World(), 0)[0], record.read_record(plan.folder), plan.space)
    final = add_trust(plan.folder, trust)
    assert print_outcome(outcome, None, make_console()) == 0
    shown = capsys.readouterr().out
    passed = f"{trust.passed} of 7 checks pass"
    assert f"can this search be trusted? {passed}\n" in shown
    for check in trust.checks:
        [line] = [line for line in shown.splitlines() if f"  {check.title}  " in line]
        assert line.startswith(f"  {check.verdict}")
        assert line.endswith(check.advice)
    tested = percent(final.test.winner.weighted_f1.mean)
    assert f"expected on test before it was opened: {percent(trust.expected.mean)} (95 % interval" in shown
    assert f"; tested {tested}, " in shown
    print_status(plan.folder, make_console())
    assert f"\ntrust   {passed}; expected on test before" in capsys.readouterr().out


def test_a_study_without_the_record_shows_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan, outcome = finished_study(tmp_path)
    assert print_outcome(outcome, None, make_console()) == 0
    print_status(plan.folder, make_console())
    assert "trust" not in capsys.readouterr().out
    final = read_final_record(plan.folder)
    assert trust_lines(final) == []
    assert status_line(final) == ""


def test_what_is_not_expected_and_what_is_no_forecast_are_said(tmp_path: Path) -> None:
    plan, _ = finished_study(tmp_path)
    study = record.read_record(plan.folder)
    unknown = assess(simulate(World(finalists=1, blocks=1), 0)[0], study, plan.space)
    final = add_trust(plan.folder, unknown)
    assert expectation_line(final) == f"no test score is expected: {unknown.unexpected}"
    again = assess(simulate(World(), 0)[0], study, plan.space, openings=1)
    assert "which had been opened before" in expectation_line(add_trust(plan.folder, again))
    before = dataclasses.replace(final, trust=dataclasses.replace(again, openings=0), test=None)
    assert "tested" not in expectation_line(before)
