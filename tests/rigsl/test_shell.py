"""Commands and paths that are printed can be pasted into the shell that the user is in."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rigsl import shell
from rigsl.cli.arguments import next_command
from rigsl.shell import option, pasteable, program, short_path

ODD = Path("a b") / "it's [old] $HOME; (1)"


def test_a_shell_reads_back_every_word() -> None:
    words = ("echo", "--", ODD, "~", "*", "ü", "")
    assert shlex.split(pasteable(*words)) == [str(word) for word in words]
    done = subprocess.run(["sh", "-c", pasteable("printf", "%s", ODD)], capture_output=True, text=True)
    assert done.stdout == str(ODD)


def test_paths_are_short_only_where_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert short_path(tmp_path / "here" / "x") == Path("x")
    assert short_path(tmp_path / "there") == tmp_path / "there"
    assert short_path(Path("x")) == Path("x")
    assert pasteable("rm", Path("-r")) == "rm ./-r"
    assert pasteable("go", None, *option("to", None), *option("by", Path("-r"))) == "go --by ./-r"
    shutil.rmtree(tmp_path / "here")
    assert short_path(Path("x")) == Path("x")


def test_a_program_of_another_environment_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.shutil, "which", lambda name: "/usr/bin/python")
    assert Path(program("python")) == short_path(Path(sys.executable).with_name("python"))
    monkeypatch.setattr(shell.shutil, "which", lambda name: str(Path(sys.executable).with_name(name)))
    assert program("python") == "python"


def test_the_next_command_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = argparse.Namespace(features="open", data_dir=Path("my data"))
    words = shlex.split(next_command(options, Path("models/a b"), "IEMOCAP"))
    assert words[1:] == [
        *("-m", "rigsl", "test", "--checkpoint", "models/a b"),
        *("--dataset", "IEMOCAP", "--features", "open", "--data-dir", "my data"),
    ]
    plain = shlex.split(next_command(argparse.Namespace(), Path("models/a"), "meld"))
    assert plain[1:] == ["-m", "rigsl", "test", "--checkpoint", "models/a"]
