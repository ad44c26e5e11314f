"""What ``best/`` of a study contains, for known datasets and for others."""

import dataclasses
import json
import os
from pathlib import Path

import optuna
import pytest

from rigsl.config import from_toml
from rigsl.files import permissions, write_text
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import load_checkpoint, save_checkpoint
from search.confirm.evaluation import read_predictions
from search.confirm.final_record import read_final_record
from search.confirm.predictions import scores_of
from search.confirm.stage import ChosenCheckpoint
from search.export.best import ExportedModel, export_best, read_metrics
from search.export.model_card import write_model_card
from search.plan.plan import Plan
from search.record import record
from search.run_folder import CARD, FINAL, METRICS, OFFICIAL, RERUN
from tests.helpers.run_folders import TEST_SEEDS, make_final, make_plan, make_study

FILES = {"config.toml", "model.safetensors", METRICS, RERUN, OFFICIAL}


@pytest.fixture
def searched(tmp_path: Path) -> tuple[Plan, optuna.Study]:
    """A study after its final stage."""
    plan = make_plan(tmp_path / "runs")
    study = make_study(plan, "cpf")
    final = make_final(plan, study)
    final["winner"]["config"] = plan.space.config(record.winner(study).params, plan.seed).to_dict()
    write_text(plan.folder / FINAL, json.dumps(final))
    return plan, study


def export(plan: Plan, study: optuna.Study) -> ExportedModel:
    """Export a checkpoint with the winner's configuration."""
    winner = record.winner(study)
    config = plan.space.config(winner.params, TEST_SEEDS[1])
    model = plan.folder / "final" / "a-training" / "model"
    save_checkpoint(model, RIGSL(config, plan.corpus.schema))
    chosen = ChosenCheckpoint(
        model, winner.number, TEST_SEEDS[1], score=0.5, epochs=3, best_epoch=2, whole=True, search_score=0.5
    )
    return export_best(plan, study, chosen, "all 3 trials done")


def test_the_model_card_says_which_labels_the_features_saw(searched) -> None:
    plan, study = searched
    seen = {"train": "out of fold", "dev": "mean of all encoders", "test": "mean of all encoders"}
    corpus = dataclasses.replace(plan.corpus, provenance={"emotions": {"labels_seen": seen}})
    exported = export(dataclasses.replace(plan, corpus=corpus), study)
    assert exported.metrics["labels_in_features"] == seen
    final = read_final_record(plan.folder)
    card = write_model_card(exported.folder, exported.metrics, final, corpus.classes, "")
    assert "- Labels in the features: train: out of fold; dev: mean" in card.read_text(encoding="utf-8")
    del exported.metrics["labels_in_features"]  # as an earlier version wrote it
    card = write_model_card(exported.folder, exported.metrics, final, corpus.classes, "")
    assert "Labels in the features" not in card.read_text(encoding="utf-8")


def test_the_checkpoint_is_exported_with_its_scores(searched) -> None:
    plan, study = searched
    exported = export(plan, study)
    assert {path.name for path in exported.folder.iterdir()} >= FILES
    assert read_metrics(exported.folder) == exported.metrics
    predictions = read_predictions(plan.folder)["winner"]
    assert exported.test == dataclasses.asdict(scores_of(predictions)[1]), "of its own seed"
    assert 0 <= exported.validation["weighted_f1"] <= 1
    assert exported.metrics["trials"] == {"complete": 1, "pruned": 1, "failed": 1}
    assert from_toml(exported.folder / "config.toml").epochs == 3, "as many as it was trained"
    assert load_checkpoint(exported.folder).config.seed == TEST_SEEDS[1]
    assert os.access(exported.folder / RERUN, os.X_OK)
    assert "python train.py --Dataset=MELD" in (exported.folder / OFFICIAL).read_text(encoding="utf-8")


def test_a_dataset_that_the_official_code_does_not_have_is_exported_without_a_command(searched) -> None:
    plan, study = searched
    plan = dataclasses.replace(plan, space=dataclasses.replace(plan.space, dataset="TOYS"))
    exported = export(plan, study)
    assert {path.name for path in exported.folder.iterdir()} >= FILES
    assert exported.metrics["dataset"] == "TOYS"
    text = (exported.folder / OFFICIAL).read_text(encoding="utf-8")
    assert text == "# the official code has no dataset 'TOYS'\n"


def test_the_model_card_gives_the_scores_and_the_claim(searched) -> None:
    plan, study = searched
    exported, final = export(plan, study), read_final_record(plan.folder)
    path = write_model_card(exported.folder, exported.metrics, final, plan.corpus.classes, "It is good.")
    assert path == exported.folder / CARD
    text = path.read_text(encoding="utf-8")
    winner = final.test.winner.weighted_f1
    for part in (
        "# RIGSL on MELD-tiny: one",
        "It is good.",
        f"| winner, mean of 3 seeds | 52.00 % | {100 * winner.mean:.2f} ± {100 * winner.std:.2f} % |",
        f"{100 * exported.test['weighted_f1']:.2f} % |",
        "the best on validation of 3 trainings",
        "4 searched hyperparameters",
        "The test split was opened 2 times.",
    ):
        assert part in text, part
    assert "*configuration*" not in text, "there is no other answer"


def test_the_model_card_says_which_number_is_which(searched) -> None:
    plan, study = searched
    config = json.loads((plan.folder / FINAL).read_text(encoding="utf-8"))["winner"]["config"]
    final = make_final(plan, study, answers=("taught", "average"))
    final["winner"]["config"] = config
    write_text(plan.folder / FINAL, json.dumps(final))
    exported, final = export(plan, study), read_final_record(plan.folder)
    path = write_model_card(exported.folder, exported.metrics, final, plan.corpus.classes, "It is good.")
    text, average = path.read_text(encoding="utf-8"), final.test.average
    for part in (
        "| *configuration*: winner, mean of 3 seeds | 52.00 % |",
        "| *taught*: winner, mean of 3 seeds | 54.00 % |",
        f"| *average*: winner | 56.00 % | {100 * average.winner.weighted_f1.mean:.2f} % |",
        f"| *average*: baseline | 54.00 % | {100 * average.baseline.weighted_f1.mean:.2f} % |",
        "- All 3 answers were fixed before test was opened, and were opened together;",
        "\n- *configuration*: mean over 3 fresh seeds: comparable with the literature.\n- *taught*: the same",
        "\n- *average*: mean probabilities of 12 trainings, 5 for the baseline.\n- Configuration: trial",
    ):
        assert part in text, part


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_who_may_read_the_script_may_run_it(searched, umask: int) -> None:
    plan, study = searched
    before = os.umask(umask)
    try:
        folder = export(plan, study).folder
    finally:
        os.umask(before)
    assert permissions(folder / RERUN) == 0o777 & ~umask
    for name in FILES - {RERUN}:
        assert permissions(folder / name) == 0o666 & ~umask, name
