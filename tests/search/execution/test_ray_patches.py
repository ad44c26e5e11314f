"""Corrections of Ray: what it would import before the first trial."""

import importlib

import pytest
from ray import tune

from search.execution.ray_patches import no_count_of_callbacks


def test_ray_imports_no_mlflow_to_count_its_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = importlib.import_module("ray.tune.tune").air_usage
    counted: list[object] = []
    monkeypatch.setattr(usage, "_count_callbacks", counted.append)  # this is where it imports MLflow
    with no_count_of_callbacks():
        usage.tag_callbacks([tune.Callback()])
    assert counted == []
    usage.tag_callbacks([tune.Callback()])
    assert len(counted) == 1
