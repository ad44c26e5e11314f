"""SIGTERM and SIGHUP end a command like Ctrl-C: nothing is left half done, and the exit code says which."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rigsl.cli import main as command_line
from rigsl.files import replacing
from rigsl.interruption import Interrupted, going_on, interruptible
from search.run_folder import ROOT

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("advice", ["", "the same command goes on"])
def test_a_signal_removes_what_is_half_written(
    number: signal.Signals,
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def write(options: object) -> int:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half of it")
            if advice:
                with going_on(advice):
                    os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return 0

    monkeypatch.setattr(command_line, "run_describe", write)
    assert command_line.main(["describe", "MELD"]) == CODES[number]
    assert capsys.readouterr().err == f"interrupted{'; ' if advice else ''}{advice}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_hang_up_that_is_ignored_ends_nothing() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_ends_in_order(number: signal.Signals, tmp_path: Path) -> None:
    tiny = ["--hidden_dim", "8", "--num_L", "1", "--num_K", "1", "--nodeformer_heads", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "rigsl", "train", "--out", str(tmp_path / "model"), *tiny]
    with subprocess.Popen(
        [*command, "--features", "open", "--epochs", "100000"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "training configuration" in process.stdout.readline()
        process.send_signal(number)
        error = process.communicate()[1]
    assert (process.returncode, error) == (CODES[number], "interrupted\n")
    assert list(tmp_path.iterdir()) == []
