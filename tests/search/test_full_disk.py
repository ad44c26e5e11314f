"""A disk that fills up, becomes read-only or goes away at any moment of a study costs nothing.

One sentence says so, and a resume ends with the same results as an undisturbed study. The disk is a real
one: a small tmpfs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import run_search
from rigsl.errors import UserError
from search import run_folder, study
from search.confirm import evaluation, runner, stage
from search.record import record
from search.terminal.progress import Progress
from tests.helpers.disturb import before
from tests.helpers.mlflow_contents import assert_held
from tests.helpers.small_disk import SmallDisk, small_disk
from tests.helpers.toy_study import toy_plan

#: A module or class, and its function.
Moment = tuple[object, str]

COMMON = ("--data-dir", "data", "--device", "cpu", "--workers", "1")
NEW = (
    *("--study", "one", "--space", "space.toml", "--trials", "3", "--scheduler", "none"),
    *("--finalists", "2", "--finalist-seeds", "1", "--test-seeds", "1", *COMMON),
)
#: What happens when the disk fills up -> the function before which it does.
MOMENTS = {
    "an epoch ends": (Progress, "epoch"),
    "a finalist ends": (Progress, "job_ended"),
    "the report is written": (study, "write_report"),
}
RARER = {
    "the search begins": (study, "run_on_ray"),
    "a trial ends": (Progress, "finished"),
    "the final stage begins": (runner, "run_on_ray"),
    "a finalist trains": (Progress, "job_epoch"),
    "test is opened": (stage, "open_test"),
    "predictions are written": (evaluation, "_write_predictions"),
    "the best model is exported": (study, "export_best"),
    "the model card is written": (study, "write_model_card"),
}


def moments(*quick: str) -> list[Any]:
    """Parameters: the `quick` ones, and the other three that matter when the whole folder is lost."""
    every = {**MOMENTS, **RARER}
    names = [*quick, *({"an epoch ends", "a trial ends", "a finalist ends"} - {*quick})]
    return [
        pytest.param(every[name], id=name, marks=() if name in quick else pytest.mark.soak)
        for name in sorted(names)
    ]


@pytest.fixture
def epochs() -> int:
    return 3


@pytest.fixture
def home(tracked_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("search.plan.options.MIN_FREE_BYTES", 0)
    return tracked_home


@pytest.fixture
def disk(home: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """The disk of the runs."""
    with small_disk(home / "runs", request) as disk:
        yield disk


@pytest.fixture(scope="module")
def cache() -> dict[str, Any]:
    """For the results of an undisturbed study."""
    return {}


def results(run: Path) -> dict[str, Any]:
    """What a study found, without times."""
    final = json.loads((run / run_folder.FINAL).read_text(encoding="utf-8"))
    metrics = json.loads((run / run_folder.BEST / run_folder.METRICS).read_text(encoding="utf-8"))
    trials = record.read_record(run).trials
    return {
        "trials": [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in trials],
        "finalists": final["finalists"],
        "test": {side: final["test"][side] for side in ("winner", "baseline")},
        "best": (metrics["trial"], metrics["seed"], metrics["weights_sha256"], metrics["test"]),
    }


def check_disturbed(
    home: Path,
    moment: Moment,
    disturb: Callable[[], object],
    repair: Callable[[], object],
    cache: dict[str, Any],
    capsys: pytest.CaptureFixture,
) -> str:
    """Disturb a study at a moment, resume it when all is well, and compare; returns what was printed."""
    if not cache:
        assert run_search.main([*NEW, "--runs-dir", "undisturbed"]) == 0
        cache |= results(home / "undisturbed" / "one")
    with pytest.MonkeyPatch.context() as patch:
        before(patch, *moment, disturb)
        assert run_search.main(list(NEW)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert "go on with --resume one" in shown
    repair()
    run = home / "runs" / "one"
    assert TrialState.FAIL not in [trial.state for trial in record.read_record(run).trials]
    assert run_search.main(["--resume", "one", *COMMON]) == 0
    assert not [path for path in run.rglob("*") if path.name.startswith(".") or path.name == run_folder.ERROR]
    assert results(run) == cache
    return shown


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    "moment",
    [
        *(pytest.param(moment, id=words) for words, moment in MOMENTS.items()),
        *(pytest.param(moment, id=words, marks=pytest.mark.soak) for words, moment in RARER.items()),
    ],
)
def test_a_disk_that_fills_up_is_one_sentence_and_a_resume_loses_nothing(
    home: Path, disk: SmallDisk, moment: Moment, cache: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    shown = check_disturbed(home, moment, disk.fill, disk.make_room, cache, capsys)
    assert "No space left on device" in shown


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    "moment",
    moments("an epoch ends"),
)
def test_a_folder_that_becomes_read_only_is_one_sentence_and_a_resume_loses_nothing(
    home: Path, disk: SmallDisk, moment: Moment, cache: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    shown = check_disturbed(home, moment, disk.make_read_only, disk.make_writable, cache, capsys)
    assert "Read-only file system" in shown


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    "moment",
    moments("an epoch ends"),
)
def test_a_share_that_is_unmounted_is_one_sentence_and_nothing_is_written_in_its_place(
    home: Path, disk: SmallDisk, moment: Moment, cache: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    def bring_back() -> None:
        assert not [path for path in (home / "runs").rglob("*") if path.is_file()]
        disk.bring_back()

    shown = check_disturbed(home, moment, disk.take_away, bring_back, cache, capsys)
    assert "No such file or directory" in shown


@pytest.mark.usefixtures("workers_here")
def test_a_full_disk_of_mlflow_does_not_stop_the_search_and_is_sent_the_rest_later(
    home: Path, empty_mlflow: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    with small_disk(home / "tracking", request) as disk, pytest.MonkeyPatch.context() as patch:
        shutil.copy(empty_mlflow, disk.folder / "mlflow.db")
        uri = f"sqlite:///{disk.folder}/mlflow.db"
        before(patch, Progress, "epoch", disk.fill)
        assert run_search.main([*NEW, "--tracking-uri", uri]) == 0
        assert "warning: MLflow is not up to date" in capsys.readouterr().out
        assert record.counts(record.read_record(home / "runs" / "one"))["complete"] == 3
        disk.make_room()
        assert run_search.main(["--sync", "one"]) == 1
        assert "MELD-open-2 has another content than the study's corpus" in capsys.readouterr().out
        assert run_search.main(["--sync", "one", "--data-dir", "data"]) == 0
        assert "model   models:/rigsl-meld-open@" in capsys.readouterr().out
        assert_held(uri, home / "runs" / "one")


@pytest.mark.soak
@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize("moment", [(Progress, "epoch"), (Progress, "finished"), (study, "write_report")])
def test_files_that_may_not_be_changed_are_one_sentence_and_a_resume_loses_nothing(
    home: Path, moment: Moment, cache: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    """As for a user without the permission; root, too, may not change a file that is immutable."""
    if subprocess.run(["chattr", "+i", str(home / "space.toml")], check=False).returncode:
        pytest.skip("files cannot be made immutable here")
    subprocess.run(["chattr", "-i", str(home / "space.toml")], check=True)

    def change(attribute: str) -> None:
        subprocess.run(["chattr", "-R", attribute, str(home / "runs")], check=True)

    try:
        shown = check_disturbed(home, moment, lambda: change("+i"), lambda: change("-i"), cache, capsys)
    finally:
        change("-i")
    assert "Operation not permitted" in shown


@pytest.mark.soak
@pytest.mark.usefixtures("shared_ray")
def test_two_worker_processes_on_a_full_disk_cost_no_trial(home: Path, disk: SmallDisk) -> None:
    plan = toy_plan(home, workers=2, trials=6, study="one")
    with pytest.MonkeyPatch.context() as patch:
        before(patch, Progress, "epoch", disk.fill)
        with pytest.raises(UserError, match=r"No space left on device.*go on with --resume one"):
            study.run(plan)
    disk.make_room()
    outcome = study.run(toy_plan(home, workers=2, resume="one"))
    assert outcome.counts["complete"] + outcome.counts["pruned"] == 6
