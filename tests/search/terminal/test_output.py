"""Printed commands can be pasted, texts of others are no markup, and a lost terminal stops nothing."""

from __future__ import annotations

import dataclasses
import errno
import io
import shlex
import sys
from pathlib import Path

import pytest

import run_search
from rigsl.console import LastingOutput, make_console
from search import cli, run_folder
from search import study as study_module
from search.command_lines import search_command
from search.plan.plan import Plan
from search.record import record
from search.record.snapshot import take_snapshot
from search.results import Outcome
from search.run_folder import ROOT
from search.space.budget import Budget
from search.space.space import parse_space
from search.terminal.progress import Progress
from search.terminal.status import print_status, print_studies
from search.terminal.summary import print_outcome, print_plan
from search.tracking.registry import Registration
from tests.helpers.run_folders import make_export, make_final, make_plan, make_study

DATA_DIR = Path("my data [x]")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A study in a folder whose name is markup, with spaces."""
    monkeypatch.chdir(tmp_path)
    return make_plan(tmp_path / "my runs [old]")


def outcome(plan: Plan, exported=None, **changes) -> Outcome:
    known = {"ending": "all done", "interrupted": None, "counts": {}, "exported": exported}
    return Outcome(plan=plan, **known | changes)


def pasted(line: str) -> dict:
    """What ``run_search.py`` reads from a printed command line."""
    _, script, *words = shlex.split(line)
    assert Path(script).resolve() == ROOT / "run_search.py"
    return vars(run_search.parser().parse_args(words))


def test_printed_commands_can_be_pasted(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    changes = {"interrupted": 2, "tracking_problem": "[/x] is away"}
    assert print_outcome(outcome(plan, **changes), DATA_DIR, make_console()) == 130
    shown = capsys.readouterr().out
    assert "[/x] is away" in shown
    sync, resume = (pasted(line) for line in shown.splitlines() if "run_search.py" in line)
    assert (sync["sync"], sync["runs_dir"].resolve()) == (plan.name, plan.folder.parent)
    assert (resume["resume"], resume["runs_dir"].resolve()) == (plan.name, plan.folder.parent)
    assert resume["data_dir"] == DATA_DIR


def test_the_commands_of_a_finished_study_can_be_pasted(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    plan = dataclasses.replace(plan, budget=Budget(trials=3))
    study = make_study(plan, "ccp")
    make_final(plan, study)
    exported = make_export(plan, study)
    assert exported is not None
    exported.metrics["ending"] = "all [/done]"
    assert print_outcome(outcome(plan, exported), DATA_DIR, make_console()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("all [/done]" in line for line in lines)
    assert "report  my runs [old]/one/report.html" in lines
    named = {line[:8].strip(): line[8:] for line in lines}
    assert pasted(named["rerun"])["rerun"].resolve() == plan.folder / "best"
    assert pasted(named["rerun"])["data_dir"] == DATA_DIR
    assert (pasted(named["resume"])["resume"], pasted(named["resume"])["trials"]) == (plan.name, 6)
    assert shlex.split(named["runs"])[1:] == ["ui", "--backend-store-uri", plan.tracking_uri]


def test_the_terminal_says_where_the_model_is_and_which_version_stays_best(
    plan: Plan, capsys: pytest.CaptureFixture
) -> None:
    study = make_study(plan, "ccp")
    make_final(plan, study)
    exported = make_export(plan, study)
    assert exported is not None
    exported.metrics["ending"] = "all done"
    registered = Registration("rigsl-meld-open", "2", "one", "version 1 (study [b]) stays best: why")
    assert print_outcome(outcome(plan, exported, registered=registered), None, make_console()) == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("model   models:/rigsl-meld-open@one")
    assert lines[place + 1] == "        version 1 (study [b]) stays best: why"


def test_a_folder_that_is_away_after_the_end_is_one_sentence_that_says_how_to_see_the_result(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    study = make_study(plan, "ccp")
    make_final(plan, study)
    exported = make_export(plan, study)
    monkeypatch.setattr(study_module, "run", lambda plan, early: outcome(plan, exported))
    monkeypatch.setattr("search.plan.new_study.prepare", lambda options: plan)
    monkeypatch.setattr(cli, "print_plan", lambda plan, console: plan.folder.rename(plan.folder.parent / "x"))
    assert run_search.main([]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {plan.folder}: cannot be read (No such file or directory)")
    shown = pasted(message.partition("is shown by: ")[2])
    assert (shown["status"], shown["runs_dir"].resolve()) == (plan.name, plan.folder.parent)


def test_in_the_folder_of_the_project_commands_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert search_command("--status").endswith("python run_search.py --status")


def test_reasons_and_paths_are_printed_as_they_are(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    study = make_study(plan, "cf")
    study.set_user_attr(record.STANDING, "finished: [/odd] :smile: [bold]")
    console = make_console()
    print_plan(plan, console)
    print_status(plan.folder, console)
    print_studies(plan.folder.parent, console)
    shown = capsys.readouterr().out
    assert "my runs [old]/one/space.toml" in shown
    assert shown.count("finished: [/odd] :smile: [bold]") == 2


@pytest.mark.parametrize(
    ("sampler", "use"),
    [
        ("gp", "they count less with every trial"),
        ("tpe", "tpe draws 5 of its first 10 proposals from them"),
    ],
)
def test_the_plan_names_the_priors_and_what_the_sampler_makes_of_them(
    plan: Plan, capsys: pytest.CaptureFixture, sampler: str, use: str
) -> None:
    print_plan(plan, make_console())
    assert "priors" not in capsys.readouterr().out
    text = plan.space.text.replace("[space.lr]", '[space.lr]\nprior = 1e-3\nconfidence = "high"')
    text = text.replace("[space.use_gumbel]", "[space.use_gumbel]\nprior = true")
    space = parse_space(text, plan.space.path)
    print_plan(dataclasses.replace(plan, space=space, sampler=sampler), make_console())
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("priors")]
    assert line == f"priors  lr 0.001 (high), use_gumbel True (low); {use}"


class Terminal(io.StringIO):
    """A terminal that can go away."""

    gone = False

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)

    def isatty(self) -> bool:
        return True


class Pipe(Terminal):
    """A pipe whose reader can go away: the error comes with the flush."""

    def write(self, text: str) -> int:
        return io.StringIO.write(self, text)

    def flush(self) -> None:
        if self.gone:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("kind", [Terminal, Pipe])
def test_a_lost_terminal_becomes_a_log_file(
    plan: Plan, kind: type[Terminal], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    study, log = make_study(plan, "cpf"), plan.folder / run_folder.TERMINAL_LOG
    stream = kind()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", LastingOutput(stream))
        progress = Progress(study, lambda: 65.0, name="one [x]", budget=Budget(trials=50), epochs=6, log=log)
        with progress:
            progress.note("first")
            assert not log.exists()
            stream.gone = True
            for trial in study.trials:
                progress.finished(trial, take_snapshot(study))
            progress._live.refresh()  # a panel is no part of a log
        make_console().print("summary [/x]")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [["1:05", "trial", str(n)] for n in range(3)]
    assert lines[3:] == ["summary [/x]"]
    assert "first" in stream.getvalue()
    print_status(plan.folder, make_console())
    assert "log     my runs [old]/one/terminal.log" in capsys.readouterr().out


def test_a_study_that_begins_without_a_terminal_logs_from_the_start(plan: Plan) -> None:
    study, log = make_study(plan, ""), plan.folder / run_folder.TERMINAL_LOG
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", LastingOutput(None))
        with Progress(study, lambda: 5.0, name="one", budget=Budget(trials=5), epochs=6, log=log) as progress:
            progress.note("first")
    assert log.read_text(encoding="utf-8") == "  0:05  first\n"


def test_a_study_whose_terminal_is_there_has_no_log(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    study, log = make_study(plan, ""), plan.folder / run_folder.TERMINAL_LOG
    with Progress(study, lambda: 5.0, name="one", budget=Budget(trials=5), epochs=6, log=log) as progress:
        progress.note("first")
    assert capsys.readouterr().out == "  0:05  first\n"
    assert not log.exists()
    print_status(plan.folder, make_console())
    assert "terminal.log" not in capsys.readouterr().out
