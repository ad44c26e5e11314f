"""Ray reads its environment when it is imported, so it is set before any of our modules imports Ray."""

import os
import subprocess
import sys

import pytest

from search.resources.environment import VARIABLES
from search.run_folder import ROOT


@pytest.mark.parametrize("module", ["search.study", "search.confirm.trainings", "search.resources.cluster"])
def test_it_is_set_before_ray_is_imported(module: str) -> None:
    code = (
        f"import {module}; from ray._private import ray_constants; "
        "print(ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.resources.environment import set_variables

    monkeypatch.setenv("TUNE_PRINT_ALL_TRIAL_ERRORS", "1")
    set_variables()
    assert os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] == "1"
