"""The public Python API: the example of its documentation in a plain script, and the results as objects."""

import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import search
from rigsl.errors import UserError
from search.run_folder import ROOT
from tests.helpers.run_folders import make_final, make_plan, make_study
from tests.helpers.toy_study import write_home

TINY = 'trials=2, epochs=2, study="tiny", space=Path("space.toml"), data_dir=Path("data"), workers=1'


def example() -> str:
    """The example in the module's docstring, as a script."""
    lines = search.__doc__.split("::\n", 1)[1].splitlines()
    code = [line for line in lines if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(code[: code.index("", code.index("    import search") + 2)]))


def test_the_documented_example_runs_as_a_script(tmp_path: Path) -> None:
    home = write_home(tmp_path / "home")
    script = home / "example.py"
    code = example()
    assert code.count("trials=20") == 1
    script.write_text("from pathlib import Path\n" + code.replace("trials=20", TINY), encoding="utf-8")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=home, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = search.load_study(home / "runs" / "tiny")
    assert [trial.number for trial in results.trials] == [0, 1]
    assert results.best == home / "runs" / "tiny" / "best"
    assert results.final.winner is not None
    assert re.search(r"number +state +score", done.stdout)
    assert f"{max(trial.score for trial in results.trials if trial.score is not None):.6f}" in done.stdout


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_importing_the_package_is_fast_and_says_what_it_offers() -> None:
    code = (
        "import sys, search; print({'torch', 'ray', 'optuna', 'mlflow', 'pandas'} & set(sys.modules)); "
        "print(set(search.__all__) <= set(dir(search)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "True"]
    for name in search.__all__:
        assert getattr(search, name).__doc__
    with pytest.raises(AttributeError, match="module 'search' has no attribute 'nothing'"):
        search.nothing  # noqa: B018


def test_results_are_objects_and_frames(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "study")
    study = make_study(plan, "cpfrc")
    make_final(plan, study)
    results = search.load_study(plan.folder)
    assert (results.name, results.folder, results.best) == ("study", plan.folder, None)
    assert results.options["sampler"] == "tpe"
    complete, pruned, failed, other = results.trials
    assert [trial.number for trial in results.trials] == [0, 1, 2, 4], "a repeated proposal is no trial"
    assert [trial.state for trial in results.trials] == ["complete", "pruned", "failed", "complete"]
    assert complete.score == study.trials[0].value
    assert complete.params == study.trials[0].params
    assert (pruned.epochs, pruned.seconds) == (2, 4.0)
    assert pruned.score == max(pruned.curve.values())
    assert pruned.reason == "stopped by the scheduler after epoch 2"
    assert (failed.score, failed.epochs) == (None, 0)
    assert failed.reason.startswith("crashed: ValueError")
    assert results.final.winner.trial in {complete.number, other.number}
    trials = results.trials_frame()
    assert list(trials.columns[:5]) == ["number", "state", "score", "epochs", "seconds"]
    assert set(trials.columns[5:]) == {f"params.{name}" for name in plan.space.parameters}
    assert trials["score"].dtype == float
    assert math.isnan(trials["score"][2])
    curves = results.curves_frame()
    assert list(curves.columns) == ["trial", "epoch", "score"]
    for number, curve in curves.groupby("trial"):
        values = study.trials[number].intermediate_values
        assert dict(zip(curve["epoch"], curve["score"], strict=True)) == values


def test_the_answers_on_test_are_found_by_name(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "study")
    make_final(plan, make_study(plan, "cc"), answers=("taught", "average"))
    answers = search.load_study(plan.folder).answers
    assert list(answers) == ["configuration", "taught", "average"]
    assert all(isinstance(answer, search.Answer) for answer in answers.values())
    test = search.load_study(plan.folder).final.test
    assert answers["configuration"].winner == test.winner
    assert (answers["taught"].winner, answers["average"].members) == (test.taught.winner, 12)
    make_final(plan, make_study(make_plan(tmp_path, "plain"), "cc"))
    assert list(search.load_study(plan.folder).answers) == ["configuration"]


def test_a_study_without_a_trial_has_empty_frames(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "empty")
    make_study(plan, "")
    results = search.load_study(str(plan.folder))
    assert isinstance(results.trials_frame(), pd.DataFrame)
    assert (len(results.trials_frame()), len(results.curves_frame())) == (0, 0)
    assert (results.final.test, results.best, results.answers) == (None, None, {})


def test_a_folder_without_a_study_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not the run folder of a study; it has no study\.toml"):
        search.load_study(tmp_path)
