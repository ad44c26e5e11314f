"""The real command line, as users call it: signals, kills, two at once, mistakes."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import run_search
from rigsl.interruption import Interrupted
from search import cli, run_folder
from search.record import lock, record
from search.run_folder import ROOT
from tests.helpers.commands import search_command, start_search
from tests.helpers.mlflow_contents import mlflow_runs
from tests.helpers.toy_study import toy_plan

OPTIONS = ("--space", "space.toml")


@pytest.fixture
def epochs() -> int:
    return 60


def wait_for(home: Path, process: subprocess.Popen, condition, seconds: float = 300) -> None:
    """Wait until the record of the only study in `home` fulfils `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, (home / "output.txt").read_text(encoding="utf-8")
        for journal in home.glob("runs/*/study.journal"):
            try:
                if condition(record.read_record(journal.parent)):
                    return
            except (ValueError, KeyError):  # read in the middle of a line
                pass
        time.sleep(0.1)
    raise AssertionError((home / "output.txt").read_text(encoding="utf-8"))


def in_the_middle(ended: int):
    """At least `ended` trials have ended, and another one is in its third epoch."""

    def condition(study) -> bool:
        running = record.running(study)
        return len(record.finished(study)) >= ended and any(len(t.intermediate_values) >= 3 for t in running)

    return condition


def epochs_in(study) -> int:
    """All epochs in the record."""
    return sum(len(trial.intermediate_values) for trial in study.trials)


@pytest.mark.parametrize(
    ("stop", "code"),
    [(Interrupted(signal.SIGTERM), 143), (Interrupted(signal.SIGHUP), 129), (KeyboardInterrupt(), 130)],
)
def test_a_search_that_a_second_signal_stops_has_the_exit_code_of_that_signal(
    stop: KeyboardInterrupt, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: object) -> int:
        raise stop

    monkeypatch.setattr(cli, "run_command", stopped)
    assert run_search.main(["--status"]) == code


@pytest.mark.usefixtures("shared_ray", "new_mlflow_addresses")
def test_a_killed_study_and_an_interrupted_one_go_on_to_the_end(tracked_home: Path) -> None:
    home = tracked_home
    process = start_search(home, *OPTIONS, "--trials", "4", "--scheduler", "none", "--study", "s")
    wait_for(home, process, in_the_middle(1))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = record.read_record(home / "runs" / "s").trials
    process = start_search(home, "--resume", "s", "--workers", "1")
    wait_for(home, process, in_the_middle(len([t for t in killed if t.state.is_finished()]) + 1))
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert f"{ROOT / 'run_search.py'} --resume s" in (home / "output.txt").read_text(encoding="utf-8")
    interrupted = record.read_record(home / "runs" / "s").trials
    assert run_search.main(["--resume", "s", "--workers", "1", "--data-dir", "data"]) == 0
    final = record.read_record(home / "runs" / "s").trials
    assert [trial.number for trial in final] == list(range(4))
    for earlier in (killed, interrupted):
        for old, new in zip(earlier, final, strict=False):
            assert old.params.items() <= new.params.items()  # a kill may come between two of a proposal
            assert old.intermediate_values.items() <= new.intermediate_values.items()
            if old.state.is_finished():
                assert (old.value, old.datetime_complete) == (new.value, new.datetime_complete)
    assert all(sorted(trial.intermediate_values) == list(range(1, 61)) for trial in final)
    runs = mlflow_runs(home)
    assert len(runs["study"]) == 1
    assert sorted(int(run.data.tags["trial"]) for run in runs["trial"]) == list(range(4))
    assert {run.info.status for run in runs["study"] + runs["trial"]} == {"FINISHED"}


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files of the commands that a test starts; short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def test_a_signal_to_the_whole_group_or_a_lost_terminal_ends_in_good_order(
    tracked_home: Path, temporary: Path
) -> None:
    home = tracked_home
    process = start_search(home, *OPTIONS, "--trials", "3", "--scheduler", "none", "--study", "s")
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        known = 0 if code == 143 else epochs_in(record.read_record(home / "runs" / "s"))
        wait_for(home, process, lambda study, known=known: epochs_in(study) > known + 2)
        os.killpg(process.pid, number)
        assert process.wait(300) == code
        printed = (home / "output.txt").read_text(encoding="utf-8")
        assert "--resume s" in printed
        assert "GCS" not in printed
        assert not [*temporary.iterdir()], "neither Ray's files nor anything else is left"
        if code == 143:
            process = start_search(home, "--resume", "s", "--workers", "1")


def test_a_user_without_a_home_folder_searches_as_everybody(
    tracked_home: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither there, nor can it be made: as in a container that runs under any user id."""
    monkeypatch.setenv("HOME", "/proc/none")
    for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    process = start_search(tracked_home, *OPTIONS, "--trials", "1", "--workers", "1", "--study", "s")
    assert process.wait(300) == 0, (tracked_home / "output.txt").read_text(encoding="utf-8")
    printed = (tracked_home / "output.txt").read_text(encoding="utf-8")
    assert "/proc/none" not in printed, "no library complains"
    assert (tracked_home / "runs" / "s" / "report.html").is_file()
    assert not [*temporary.iterdir()]


def test_a_second_process_on_one_study_is_refused(home: Path, capsys: pytest.CaptureFixture) -> None:
    plan = toy_plan(home, study="s")
    plan.folder.mkdir(parents=True)
    record.open_record(plan.folder, plan.name)
    (plan.folder / "study.toml").write_text(plan.options_toml(), encoding="utf-8")
    (plan.folder / "space.toml").write_bytes((home / "space.toml").read_bytes())
    before = sorted(home.rglob("*"))
    with lock.hold(plan.folder / run_folder.LOCK):
        assert run_search.main(["--resume", "s", "--data-dir", "data"]) == 2
    message = capsys.readouterr().err
    assert "being run by another process" in message
    assert str(os.getpid()) in message
    assert message.count("\n") == 1
    assert sorted(home.rglob("*")) == sorted([*before, plan.folder / run_folder.LOCK])


def test_two_searches_at_once_do_not_disturb_each_other(home: Path) -> None:
    options = (*OPTIONS, "--trials", "2", "--epochs", "3", "--workers", "1")
    both = [start_search(home, *options) for _ in range(2)]
    output = home / "output.txt"
    assert [process.wait(400) for process in both] == [0, 0], output.read_text(encoding="utf-8")
    assert "warning" not in output.read_text(encoding="utf-8")
    folders = sorted((home / "runs").iterdir())
    assert len(folders) == 2
    studies = [record.read_record(folder) for folder in folders]
    assert [record.counts(study)["running"] for study in studies] == [0, 0]
    assert [len(record.begun(study)) for study in studies] == [2, 2]
    runs = mlflow_runs(home)
    assert len(runs["study"]) == 2
    assert len(runs["trial"]) == 4


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--trials", "0"], "--trials"),
        (["--time-budget", "soon"], "--time-budget"),
        (["--target", "65"], "--target"),
        (["--sampler", "magic"], "--sampler"),
        (["--scheduler", "magic"], "--scheduler"),
        (["--features", "secret"], "secret"),
        (["--features", "official"], "official"),
        (["--dataset", "FRIENDS"], "FRIENDS"),
        (["--space", "nowhere.toml"], "nowhere.toml"),
        (["--space", "wrong.toml"], "wrong.toml"),
        (["--gpus-per-trial", "0.5"], "--gpus-per-trial"),
        (["--device", "cuda"], "--device cuda"),
        (["--workers", "0"], "--workers"),
        (["--study", "../elsewhere"], "--study"),
        (["--gpus-per-trial", "some"], "--gpus-per-trial some"),
        (["--gpu-hours", "1"], "--gpu-hours"),
        (["--storage", "study.db"], "--storage study.db"),
        (["--start-from", "nothing"], "--start-from nothing"),
        (["--resume", "nothing"], "--resume nothing"),
        (["--status", "nothing"], "--status nothing"),
        (["--sync", "nothing"], "--sync nothing"),
        (["--promote"], "--promote"),
        (["--report", "nothing"], "--report nothing"),
        (["--compare", "nothing", "else"], "--compare nothing"),
        (["--test-seeds", "-1"], "--test-seeds"),
        (["--protocol", "mine"], "--protocol"),
        (["--rerun", "nothing"], "--rerun nothing"),
        (["--tracking-uri", "./mlruns"], "--tracking-uri"),
        (["--epochs", "0"], "epochs"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(
    home: Path, arguments: list[str], word: str, capsys: pytest.CaptureFixture
) -> None:
    import torch

    if torch.cuda.is_available() and ("cuda" in arguments or "--gpus-per-trial" in arguments):
        pytest.skip("here is a GPU")
    (home / "wrong.toml").write_text("[study]\n", encoding="utf-8")
    before = sorted(home.rglob("*"))
    options = (
        ["--data-dir", "data"]
        if {"--space", "--dataset"} & set(arguments)
        else [*OPTIONS, "--data-dir", "data"]
    )
    options = ["--data-dir", "data"] if {"--resume", "--rerun"} & set(arguments) else options
    options = [] if {"--status", "--sync", "--report", "--compare"} & set(arguments) else options
    assert run_search.main([*options, *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert word in message
    assert sorted(home.rglob("*")) == before


def test_an_unreadable_option_is_one_sentence_too(home: Path) -> None:
    done = subprocess.run(search_command("--trials", "many"), cwd=home, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument --trials")
    assert done.stderr.count("\n") == 1


def test_a_damaged_corpus_is_one_sentence(home: Path, capsys: pytest.CaptureFixture) -> None:
    (home / "data" / "meld_open.safetensors").write_bytes(b"not a corpus")
    assert run_search.main([*OPTIONS, "--data-dir", "data"]) == 2
    message = capsys.readouterr().err
    assert "meld_open.safetensors" in message
    assert message.count("\n") == 1
    assert not (home / "runs").exists()
    assert not (home / "mlflow.db").exists()
