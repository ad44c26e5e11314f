"""Files of a run folder that are damaged, and options out of all proportion: one sentence, no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tomli_w

import run_search
from rigsl.config import read_toml
from search import run_folder
from search.plan.plan import Plan
from tests.helpers.commands import refusal
from tests.helpers.run_folders import make_export, make_final, make_plan, make_study
from tests.helpers.toy_study import write_home

#: Contents that none of the files can have.
BROKEN = {"cut": b'{"a', "no text": b"\xff\xfe\x00{", "deep": b"[" * 100_000, "number": b"9" * 5_000}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A finished study in the working directory."""
    monkeypatch.chdir(tmp_path)
    made = make_plan(tmp_path / "runs")
    study = make_study(made, "ccpcf")
    make_final(made, study)
    assert make_export(made, study) is not None
    return made


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    shown = refusal(run_search.main, list(arguments), capsys)
    assert len(shown) < 700
    return shown


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    "name",
    [
        run_folder.STUDY,
        run_folder.SPACE,
        run_folder.JOURNAL,
        run_folder.ENVIRONMENT,
        run_folder.FACTS,
        run_folder.FINAL,
        f"{run_folder.BEST}/{run_folder.METRICS}",
    ],
)
def test_a_damaged_file_is_named(
    plan: Plan, name: str, content: bytes, capsys: pytest.CaptureFixture
) -> None:
    (plan.folder / name).write_bytes(content)
    assert str(plan.folder / name) in refused(capsys, "--report", plan.name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (run_folder.ENVIRONMENT, [1]),
        (run_folder.ENVIRONMENT, [{"started": "soon"}]),
        (run_folder.FACTS, {"graph": {"left": 3}}),
        (f"{run_folder.BEST}/{run_folder.METRICS}", {"trial": 0}),
    ],
)
def test_a_file_of_another_content_is_one_sentence(
    plan: Plan, name: str, content: object, capsys: pytest.CaptureFixture
) -> None:
    (plan.folder / name).write_text(json.dumps(content), encoding="utf-8")
    assert "is damaged" in refused(capsys, "--report", plan.name)


@pytest.mark.parametrize("mode", ["--status", "--report", "--resume", "--sync"])
@pytest.mark.parametrize(
    "key",
    [
        "study",
        "dataset",
        "features",
        "sampler",
        "scheduler",
        "seed",
        "epochs",
        "tracking_uri",
        "corpus",
        "budget",
    ],
)
def test_a_key_that_study_toml_lacks_is_named(
    plan: Plan, mode: str, key: str, capsys: pytest.CaptureFixture
) -> None:
    path = plan.folder / run_folder.STUDY
    content = read_toml(path)
    del content[key]
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    assert f"study.toml: {key} is missing; restore the file from a copy" in refused(capsys, mode, plan.name)
    path.write_text(tomli_w.dumps(content | {key: [1]}), encoding="utf-8")
    assert f"study.toml: {key} = [1] is not a" in refused(capsys, mode, plan.name)


@pytest.mark.parametrize("change", [{"curriculum": True}, {"seed_derivation": "by the moon"}])
def test_what_a_later_version_has_written_is_read_but_not_continued(
    plan: Plan, change: dict[str, object], capsys: pytest.CaptureFixture
) -> None:
    """A resume would write study.toml without it, and go on with other options than before."""
    path = plan.folder / run_folder.STUDY
    path.write_text(tomli_w.dumps(read_toml(path) | change), encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    sentence = refused(capsys, "--resume", plan.name, "--trials", "9")
    assert f"study.toml: {min(change)} " in sentence
    assert "take the version with which the study was run last" in sentence
    assert path.read_text(encoding="utf-8") == text
    if "curriculum" in change:
        assert "curriculum is unknown" in refused(capsys, "--start-from", plan.name)
    assert run_search.main(["--status", plan.name]) == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_damaged_predictions_are_named(plan: Plan, content: bytes, capsys: pytest.CaptureFixture) -> None:
    path = plan.folder / run_folder.PREDICTIONS
    path.write_bytes(content)
    shutil.copytree(plan.folder, plan.folder.with_name("two"))
    shown = refused(capsys, "--compare", plan.name, "two")
    assert f"{path}: is damaged; restore it from a copy" in shown


def test_a_report_that_cannot_be_written_is_one_sentence(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    (plan.folder / run_folder.REPORT).mkdir()
    shown = refused(capsys, "--report", plan.name)
    assert f"{plan.folder / run_folder.REPORT}: cannot be written (Is a directory)" in shown


def test_a_rerun_of_damaged_metrics_is_one_sentence(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    path = plan.folder / run_folder.BEST / run_folder.METRICS
    path.write_text('{"dataset": "MELD", "features": 3}', encoding="utf-8")
    assert f"{path}: features is missing or damaged" in refused(capsys, "--rerun", str(path.parent))
    path.write_bytes(b"{")
    assert f"{path}: is damaged" in refused(capsys, "--rerun", str(path.parent))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--time-budget", "99999999d"], "--time-budget: 1.44e+11 minutes are more than ten years"),
        (["--time-budget", "9" * 400 + "d"], "--time-budget: inf is not a number above 0"),
        (["--gpus-per-trial", "1e999"], "--gpus-per-trial 1e999: is not auto"),
        (["--tracking-uri", "http://[::1"], "--tracking-uri http://[::1: is not an address"),
        (["--tracking-uri", "postgresql://[x"], "--tracking-uri postgresql://[x: is not an address"),
        (["--tracking-uri", "http://"], "--tracking-uri http://: is not an address"),
        (["--tracking-uri", "http://host:many"], "--tracking-uri http://host:many: is not an address"),
        (["--tracking-uri", "sqlite:///"], "--tracking-uri sqlite:///: names the folder"),
        (["--study", "a\nb"], r"--study a\nb: is not a name"),
        (["--start-from", "x" * 300], "File name too long"),
        (["--runs-dir", "x" * 300], "File name too long"),
    ],
)
def test_an_option_out_of_all_proportion_is_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    home = write_home(tmp_path / "home")
    monkeypatch.chdir(home)
    assert says in refusal(
        run_search.main, ["--data-dir", "data", "--space", "space.toml", *arguments], capsys
    )
    assert not (home / "runs").exists()
