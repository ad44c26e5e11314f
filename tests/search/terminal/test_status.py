"""What another terminal sees of a study."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import run_search
from search import run_folder
from search.execution.searcher import StudySearcher
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import lock, record
from search.record.learning_curve import METRIC
from search.study import write_folder


@pytest.fixture
def study(home: Path) -> Path:
    plan = prepare(SearchOptions(space=home / "space.toml", data_dir=home / "data", trials=5, study="one"))
    plan.folder.mkdir(parents=True)
    written = write_folder(plan, record.open_record(plan.folder, plan.name))
    searcher = StudySearcher(
        written, plan.space, sampler="random", seed=0, budget=plan.budget, workers=2, overrides={}
    )
    searcher.suggest("a")
    searcher.suggest("b")
    summary = {"epochs": 4, "seconds": 2.0, "best_epoch": 3}
    searcher.on_trial_complete("a", {"epoch": 4, METRIC: 0.5678, "ended": "by itself", **summary})
    searcher.on_trial_result("b", {"epoch": 2, METRIC: 0.4321})
    return plan.folder


def test_a_running_study_is_printed_from_another_process(study: Path, capsys: pytest.CaptureFixture) -> None:
    with lock.hold(study / run_folder.LOCK, "busy"):
        assert run_search.main(["--status", "one"]) == 0
    printed = capsys.readouterr().out
    for part in (
        f"running (process {os.getpid()} on {socket.gethostname()})",
        "of 5 trials",
        "1 complete",
        "1 running",
        "0.5678, trial 0",
        "2/4",
        "0.4321",
    ):
        assert part in printed
    assert "trial 0 complete 0.5678 after 4 epochs" in printed


def test_a_study_whose_process_is_gone_is_interrupted(study: Path, capsys: pytest.CaptureFixture) -> None:
    before = (study / "study.journal").read_bytes()
    assert run_search.main(["--status"]) == 0
    assert "interrupted" in capsys.readouterr().out
    assert (study / "study.journal").read_bytes() == before


def test_it_needs_neither_pytorch_nor_ray(study: Path) -> None:
    code = (
        "import sys; from run_search import main; code = main(['--status', 'one']) or main(['--status']); "
        "print(code, {'torch', 'ray', 'mlflow', 'pandas'} & set(sys.modules))"
    )
    command, environment = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(run_folder.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


def test_no_study_is_said_in_a_sentence(study: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_search.main(["--status", "two"]) == 2
    assert "--status two: is not a study in runs; there are one" in capsys.readouterr().err
    assert run_search.main(["--status", "--runs-dir", "none"]) == 2
    assert run_search.main(["--status", "one", "--trials", "3"]) == 2
    assert "--status: cannot be combined with --trials" in capsys.readouterr().err
