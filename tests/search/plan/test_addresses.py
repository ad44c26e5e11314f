"""Where a study is tracked: --tracking-uri, MLFLOW_TRACKING_URI, the study's own address, the default."""

from pathlib import Path

import pytest
from rich.console import Console

from rigsl.errors import UserError
from search.plan.addresses import TRACKING, VARIABLE
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.record import record
from search.study import write_folder
from search.terminal.summary import print_plan

SERVER = "http://tracking.example.org:5000"


def new_plan(home: Path, **more) -> Plan:
    return prepare(SearchOptions(space=home / "space.toml", data_dir=home / "data", trials=3, **more))


def begin(plan: Plan) -> None:
    plan.folder.mkdir(parents=True)
    write_folder(plan, record.open_record(plan.folder, plan.name))


def mlflow_line(plan: Plan, capsys: pytest.CaptureFixture) -> str:
    print_plan(plan, Console(soft_wrap=True))
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mlflow"))


def test_the_variable_of_mlflow_is_followed_and_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert mlflow_line(new_plan(home), capsys) == f"mlflow  {TRACKING}"
    monkeypatch.setenv(VARIABLE, SERVER)
    plan = new_plan(home)
    assert plan.options()["tracking_uri"] == SERVER
    assert mlflow_line(plan, capsys) == f"mlflow  {SERVER} (from MLFLOW_TRACKING_URI)"
    plan = new_plan(home, tracking_uri="sqlite:///other.db")
    assert mlflow_line(plan, capsys) == "mlflow  sqlite:///other.db"


def test_an_invalid_variable_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "./mlruns")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI ./mlruns: is not an address.*unset"):
        new_plan(home)
    assert not (home / "runs").exists()
    assert new_plan(home, tracking_uri=TRACKING).tracking_uri == TRACKING


def test_a_resume_stays_where_the_runs_of_the_study_are(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    begin(new_plan(home, study="one"))
    monkeypatch.setenv(VARIABLE, SERVER)
    plan = prepare(SearchOptions(resume="one", data_dir=home / "data"))
    assert plan.tracking_uri == TRACKING
    assert mlflow_line(plan, capsys) == (
        f"mlflow  {TRACKING} (the study's, not that of MLFLOW_TRACKING_URI; --tracking-uri changes it)"
    )


def test_a_resume_has_the_password_of_the_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "http://user:secret@tracking.example.org:5000"
    monkeypatch.setenv(VARIABLE, secret)
    begin(new_plan(home, study="one"))
    plan = prepare(SearchOptions(resume="one", data_dir=home / "data"))
    assert plan.tracking_uri == secret
    assert "secret" not in (plan.folder / "study.toml").read_text(encoding="utf-8")


def test_the_plan_shows_no_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "http://user:secret@tracking.example.org:5000")
    assert "secret" not in mlflow_line(new_plan(home), capsys)
