"""The campaign sees what is lost: without that its table would say nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from search import run_folder
from tests.chaos.checks import Checker, differences
from tests.helpers.run_folders import make_plan, make_study


def _journal(folder: Path, trials: str, seed: int = 0) -> bytes:
    plan = make_plan(folder, "one")
    make_study(plan, trials, seed=seed)
    return (plan.folder / run_folder.JOURNAL).read_bytes()


def _with_record(trials: str, seed: int) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        journal = _journal(folder / "other", trials, seed)
        (folder / "one" / run_folder.JOURNAL).write_bytes(journal)

    return replace


def _damaged(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "one" / name).write_text('{"half": ', encoding="utf-8")

    return damage


def _changed_training(folder: Path) -> None:
    _write_result(folder, 0.2)


def _write_result(folder: Path, score: float) -> None:
    path = folder / "one" / run_folder.TRAININGS / run_folder.RESULTS
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"abc-1": {"score": score}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("happens", "problem"),
    [
        (lambda folder: None, ""),
        (_with_record("ccpc", 0), ""),
        (_with_record("cc", 0), "the record has 2 trials, and had 3"),
        (_with_record("ccp", 1), "had ended and changed"),
        (_damaged(run_folder.FINAL), "final.json is damaged"),
        (_damaged(run_folder.SPACE), "space.toml is damaged"),
        (_changed_training, "the training abc-1 had ended and changed"),
        (lambda folder: (folder / "one" / run_folder.JOURNAL).unlink(), "the record cannot be read"),
    ],
)
def test_what_is_lost_is_seen(
    tmp_path: Path, empty_mlflow: Path, happens: Callable[[Path], None], problem: str
) -> None:
    _journal(tmp_path, "ccp")
    _write_result(tmp_path, 0.1)
    checker = Checker(tmp_path / "one", empty_mlflow)
    assert checker.check() == []
    happens(tmp_path)
    problems = checker.check()
    assert problem in "\n".join(problems)
    assert bool(problems) == bool(problem)


def test_digests_differ_where_studies_do() -> None:
    one = {"trials": {"0": ["COMPLETE", 0.5], "1": ["PRUNED", 0.1]}, "files": ["a"]}
    other = {"trials": {"0": ["COMPLETE", 0.5], "1": ["FAIL", 0.1]}, "files": ["a"]}
    assert list(differences(one, one)) == []
    assert list(differences(one, other)) == ["/trials/1: ['FAIL', 0.1] instead of ['PRUNED', 0.1]"]
