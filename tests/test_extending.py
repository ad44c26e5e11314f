"""docs/extending.md, done to the letter: every block is applied to a copy, which then runs a search."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.run_folder import ROOT
from tests.helpers.toy_study import make_corpus

BLOCK = re.compile(r"^```(python|toml|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product code with everything on the page in it, and a corpus for its dataset."""
    copy = tmp_path_factory.mktemp("extended") / "project"
    for name in ("search", "rigsl", "spaces"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_search.py", copy)
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for kind, text in BLOCK.findall(page):
        if kind == "diff":
            apply_diff(copy, text)
        else:
            path = copy / text.splitlines()[0].removeprefix("# ")
            assert not path.exists()
            path.write_text(text.split("\n", 1)[1], encoding="utf-8")
    (copy / "data").mkdir()
    make_corpus().save(copy / "data" / "Toy.safetensors")
    return copy


def apply_diff(copy: Path, text: str) -> None:
    """Apply the hunks of one file; the lines that they expect must be there, and once."""
    name, *lines = text.splitlines()
    path = copy / name.removeprefix("--- ")
    for hunk in "\n".join(lines).split("\n@@\n"):
        marked = [(line[:1], line[1:]) for line in hunk.splitlines()]
        before = "".join(f"{line}\n" for mark, line in marked if mark != "+")
        after = "".join(f"{line}\n" for mark, line in marked if mark != "-")
        content = path.read_text(encoding="utf-8")
        assert content.count(before) == 1, f"{path.name}: {before!r}"
        path.write_text(content.replace(before, after), encoding="utf-8")


def run(copy: Path, *arguments: str) -> str:
    """What a command prints, run in the copy with its code."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_search_with_everything_on_the_page(extended: Path) -> None:
    options = ("--sampler", "halton", "--study", "one", "--workers", "1")
    shown = run(extended, "run_search.py", "--dataset", "Toy", *options)
    assert "halton, floor, seed 0" in shown
    folder = extended / "runs" / "one"
    metrics = json.loads((folder / "best" / "metrics.json").read_text(encoding="utf-8"))
    assert sum(metrics["trials"].values()) == 3
    assert metrics["trials"]["failed"] == 0
    config = (folder / "best" / "config.toml").read_text(encoding="utf-8")
    assert 'backbone = "MLP"' in config
    assert "label_smoothing = " in config
    official = (folder / "best" / "official_command.txt").read_text(encoding="utf-8")
    assert official == "# the official code has no dataset 'Toy'\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<a href="#slowest">Slowest</a>' in page
    assert "The slowest trials" in page


def test_the_model_s_own_commands_know_what_was_added(extended: Path) -> None:
    shown = run(extended, "-m", "rigsl", "train", "--help")
    assert "label_smoothing" in shown
    toy = ("--dataset", "Toy", "--data-dir", "data", "--backbone", "MLP", "--hidden_dim", "8")
    run(extended, "-m", "rigsl", "train", *toy, "--label_smoothing", "0.1", "--epochs", "1", "--out", "model")
    run(extended, "-m", "rigsl", "test", "--dataset", "Toy", "--data-dir", "data", "--checkpoint", "model")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("search/schedulers/registry.py", '    "floor": make_floor,\n'),
        ("rigsl/memory/model.py", '    "MLP": mlp_stages,\n'),
        ("rigsl/official/names.py", '    "MLP": None,\n'),
    ],
)
def test_a_half_registered_part_is_named_at_once(extended: Path, file: str, line: str) -> None:
    path = extended / file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(line, ""), encoding="utf-8")
    try:
        module = file.removesuffix(".py").replace("/", ".")
        command = [sys.executable, "-c", f"import {module}"]
        environment = {**os.environ, "PYTHONPATH": str(extended)}
        done = subprocess.run(command, cwd=extended, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert done.returncode == 1
    assert ("floor" if "floor" in line else "MLP") in done.stderr.splitlines()[-1]
