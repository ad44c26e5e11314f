"""What the commands of `python -m rigsl` do when nobody reads their output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rigsl.cli.main import main
from rigsl.inference.learned_graph import LearnedGraph
from rigsl.training import checkpoint
from rigsl.training.checkpoint import load_checkpoint
from search.run_folder import ROOT
from tests.helpers.commands import refusal
from tests.helpers.disturb import before
from tests.helpers.small_disk import small_disk
from tests.helpers.toy_study import write_home

TINY = ["--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nodeformer_heads", "1"]
TINY += ["--nb_features_dim", "4", "--gumbel_k", "1", "--device", "cpu", "--features", "open"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return write_home(tmp_path / "a home")


def rigsl(command: str, checkpoint: Path, home: Path) -> list[str]:
    data = ["--data-dir", str(home / "data"), "--threads", "1"]
    where = ["--out", str(checkpoint), *TINY] if command == "train" else ["--checkpoint", str(checkpoint)]
    return [command, *where, *data]


def test_train_writes_its_checkpoint_without_a_reader(home: Path) -> None:
    command = [sys.executable, "-m", "rigsl", *rigsl("train", home / "model", home), "--epochs", "20"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "training configuration" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert load_checkpoint(home / "model").config.hidden_dim == 8


@needs_full
def test_scores_that_cannot_be_written_are_an_error(home: Path) -> None:
    assert main([*rigsl("train", home / "model", home), "--epochs", "1"]) == 0
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rigsl", *rigsl("test", home / "model", home)],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.stderr == "error: the output cannot be written (No space left on device)\n"
    assert done.returncode == 2


@needs_full
def test_help_that_cannot_be_written_is_an_error() -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rigsl", "--help"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.stderr == "error: the output cannot be written (No space left on device)\n"
    assert done.returncode == 2


@pytest.mark.parametrize("command", ["train", "import-checkpoint", "graph"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    home: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("it began")

    monkeypatch.setattr("rigsl.training.fit.fit", work)
    monkeypatch.setattr("rigsl.official.state.read_state", work)
    monkeypatch.setattr("rigsl.training.checkpoint.load_checkpoint", work)
    out = home / "space.toml" / "model"  # a file is no folder
    options = {
        "train": rigsl("train", out, home),
        "import-checkpoint": ["import-checkpoint", "some.pkl", "--out", str(out)],
        "graph": ["graph", "--checkpoint", "x", "--dialogue", "y", "--out", str(out)],
    }
    shown = refusal(main, options[command], capsys)
    assert str(out) in shown
    assert "cannot be written (Not a directory)" in shown


@pytest.mark.parametrize("command", ["train", "graph"])
def test_a_disk_that_is_full_at_the_end_is_one_sentence_and_leaves_nothing(
    home: Path,
    command: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    model = home / "model"
    if command == "graph":
        assert main([*rigsl("train", model, home), "--epochs", "1"]) == 0
    with small_disk(home / "disk", request) as disk:
        out = home / "disk" / "out"
        options = {
            "train": [*rigsl("train", out, home), "--epochs", "1"],
            "graph": [*rigsl("graph", model, home), "--dialogue", "dialogue_25", "--out", str(out)],
        }
        before(monkeypatch, checkpoint, "save_checkpoint", disk.fill)
        before(monkeypatch, LearnedGraph, "save", disk.fill)
        capsys.readouterr()
        shown = refusal(main, options[command], capsys)
        assert shown == (
            f"error: {out}: cannot be written (No space left on device); choose or make room elsewhere\n"
        )
        assert not [path for path in disk.folder.rglob("*") if path.name not in ("ballast", "out")]


@needs_full
def test_an_error_is_told_although_the_output_is_lost(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rigsl", "test", "--checkpoint", str(tmp_path)],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}: is not a checkpoint")
    assert done.stderr.count("\n") == 1


def test_a_path_with_markup_is_printed_as_it_is(home: Path, capsys: pytest.CaptureFixture) -> None:
    checkpoint = home / "models [old] [/x]"
    assert main([*rigsl("train", checkpoint, home), "--epochs", "1"]) == 0
    assert f"checkpoint in {checkpoint}" in capsys.readouterr().out
    assert main(rigsl("test", checkpoint, home)) == 0
    assert f"{checkpoint} on MELD-tiny" in capsys.readouterr().out
