"""Commands that are written into pages can be pasted: in the project's folder, or anywhere for other runs."""

from __future__ import annotations

import dataclasses
import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import run_search
from search import command_lines
from search.command_lines import page_command
from search.confirm.final_record import read_final_record
from search.export.model_card import write_model_card
from search.export.narrow import write_next_space
from search.plan.plan import Plan
from search.record import record
from search.report.commands import resume_command
from search.report.data import read_study_data
from search.report.sections import setup
from search.run_folder import BEST, ROOT
from tests.helpers.run_folders import make_export, make_final, make_plan, make_study


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A finished study in a folder that needs quoting; the working directory is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plan = make_plan(tmp_path / "it's [my] runs", "one")
    study = make_study(plan, "cppcpfcrpcpcpcppcpcpcpcc")
    make_final(plan, study)
    assert make_export(plan, study) is not None
    return plan


def read(command: str) -> dict:
    """What ``run_search.py`` reads from a command that is pasted in another folder than where it was made."""
    python, script, *words = shlex.split(command)
    assert Path(python).name == "python"
    assert Path(script) == ROOT / "run_search.py"
    os.chdir("/")
    return vars(run_search.parser().parse_args(words))


def commands(page: str) -> list[str]:
    """The commands in the blocks of a page."""
    blocks = [html.unescape(block) for block in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    return [block for block in blocks if "run_search.py" in block]


def test_the_commands_of_the_report_work_anywhere(plan: Plan) -> None:
    data = read_study_data(plan.folder)
    rerun, resume = commands(setup.content(data))
    assert read(rerun)["rerun"] == plan.folder / BEST
    given = read(resume)
    assert (given["resume"], given["runs_dir"]) == ("one", plan.folder.parent)
    assert given["time_budget"] is None  # it has trials left, and no other limit


def test_the_resume_of_the_report_raises_what_is_used_up(plan: Plan) -> None:
    data = read_study_data(plan.folder)
    data.options["budget"] = {"trials": 20}
    assert read(resume_command(data) or "")["trials"] == 40
    wider = read(resume_command(data, "--space", "wider.toml") or "")
    assert (wider["trials"], wider["space"]) == (40, Path("wider.toml"))
    data.options["budget"] = {"target": 0.0001}
    assert 0 < float(read(resume_command(data) or "")["target"]) <= 1


def test_a_study_goes_on_in_its_own_mlflow_database(plan: Plan) -> None:
    data = read_study_data(plan.folder)
    assert read(resume_command(data) or "")["tracking_uri"] is None
    os.chdir(plan.folder.parent.parent / "elsewhere")
    Path("mlflow.db").touch()
    here = Path.cwd()
    assert read(resume_command(data) or "")["tracking_uri"] == f"sqlite:///{here}/mlflow.db"


def test_the_model_card_works_anywhere(plan: Plan) -> None:
    final, folder = read_final_record(plan.folder), plan.folder / BEST
    final.winner.config.update(modals="ld", backbone="GCN")
    metrics = {
        "study": "one", "corpus": "c", "dataset": "MELD", "seed": 1, "test_seeds": 3, "trial": 1,
        "validation": {"weighted_f1": 0.5}, "test": {"weighted_f1": 0.5}, "search_weighted_f1": 0.5,
        "corpus_hash": "a" * 64, "commit": "b" * 40,
    }  # fmt: skip
    text = write_model_card(folder, metrics, final, plan.corpus.classes, "").read_text(encoding="utf-8")
    [block] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    enter, rerun, test, predict = (line.split("   #")[0] for line in block.splitlines())
    assert shlex.split(enter) == ["cd", str(ROOT)]
    assert read(rerun)["rerun"] == folder
    assert shlex.split(test)[-1] == shlex.split(predict)[5] == str(folder)


def test_the_command_of_the_next_space_works_anywhere(plan: Plan) -> None:
    study = record.read_record(plan.folder)
    path = write_next_space(plan.folder, plan.space, study, dict(plan.space.starts[0]))
    assert path is not None
    [line] = [line for line in path.read_text(encoding="utf-8").splitlines() if "run_search.py" in line]
    given = read(line.removeprefix("#"))
    assert (given["space"], given["start_from"]) == (path, "one")
    assert given["runs_dir"] == plan.folder.parent


def test_the_status_of_an_interrupted_study_has_its_resume(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    assert run_search.main(["--status", "one", "--runs-dir", str(plan.folder.parent)]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resume")]
    given = read(line.removeprefix("resume"))
    assert (given["resume"], given["runs_dir"]) == ("one", plan.folder.parent)


def test_commands_for_the_projects_own_runs_are_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command_lines, "ROOT", tmp_path)
    runs = tmp_path / "runs"
    assert page_command(runs, "--rerun", runs / "one" / BEST) == "python run_search.py --rerun runs/one/best"
    assert page_command(runs, "--resume", "one", named=True) == "python run_search.py --resume one"


def script_of(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``rerun.sh`` of the study, and of nothing else."""
    from tests.search.export.test_best import export

    monkeypatch.setattr("search.export.best.validation_scores", lambda *_: dict.fromkeys(
        ("weighted_f1", "macro_f1", "accuracy"), 0.5
    ))  # fmt: skip
    return export(plan, record.read_record(plan.folder)).folder / "rerun.sh"


@pytest.mark.parametrize("inside", [False, True])
def test_the_script_finds_the_project(
    inside: bool, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "the 'project'"
    (project / "runs").mkdir(parents=True)
    shutil.copy(ROOT / "run_search.py", project)
    for module in ("search.command_lines", "search.export.best"):
        monkeypatch.setattr(f"{module}.ROOT", project)
    if inside:
        folder = project / "runs" / "one"
        plan.folder.rename(folder)
        plan = dataclasses.replace(plan, folder=folder)
    script = script_of(plan, monkeypatch)
    done = subprocess.run(
        [script, "--data-dir", "x"],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHON": "echo"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{project}/run_search.py --rerun {script.parent} --data-dir x\n", done.stderr
    assert sys.executable not in script.read_text(encoding="utf-8")
