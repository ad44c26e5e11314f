"""A search on files in the official schemas, and the spaces that belong to them."""

import json
from pathlib import Path

import pytest

from rigsl.official.presets import preset
from search.run_folder import ROOT
from search.space.space import read_space
from search.study import run
from tests.helpers.official_files import write_official
from tests.helpers.toy_study import SPACE, toy_plan


@pytest.mark.parametrize("dataset", ["MELD", "IEMOCAP"])
def test_the_space_of_a_dataset_begins_with_the_published_configuration(dataset):
    space = read_space(ROOT / "spaces" / f"{dataset.lower()}.toml")
    published = preset(f"official/{dataset.lower()}").config
    assert space.config(space.starts[0], published.seed) == published


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize("dataset", ["MELD", "IEMOCAP"])
def test_official_files_are_searched(dataset, tracked_home: Path):
    write_official(tracked_home / "official", dataset)
    space = SPACE.format(epochs=2).replace('"MELD"', f'"{dataset}"').replace('"open"', '"official"')
    (tracked_home / "space.toml").write_text(space.replace('"ld"', '"lav"'), encoding="utf-8")
    plan = toy_plan(
        tracked_home, workers=1, trials=2, dataset=dataset.lower(), data_dir=tracked_home / "official"
    )
    assert plan.features == "official"
    outcome = run(plan)
    assert outcome.counts["failed"] == 0
    best = outcome.plan.folder / "best"
    metrics = json.loads((best / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["dataset"], metrics["features"]) == (dataset, "official")
    assert 0 <= metrics["test"]["weighted_f1"] <= 1
    command = (best / "official_command.txt").read_text(encoding="utf-8")
    assert f"python train.py --Dataset={dataset} " in command
    assert "--hidden_dim=8 " in command
