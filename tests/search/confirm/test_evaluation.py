"""Predictions say themselves what they are of: none is ever taken for those of other weights."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import save_checkpoint
from search.confirm import evaluation
from search.confirm.evaluation import Checkpoints, open_test, read_predictions, was_tested
from search.confirm.final_record import FinalRecord, Opening, read_final_record, write_final_record
from search.resources.workers import Workers
from search.run_folder import PREDICTIONS
from tests.helpers.toy_study import make_corpus

CONFIG = RIGSLConfig(modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4)
WORKERS = Workers(1, "cpu")


def trained(folder: Path, side: str, config_hash: str, seeds: tuple[int, ...]) -> Checkpoints:
    """Checkpoints as trainings leave them; their weights follow from the seed."""
    corpus = make_corpus()
    folders = {seed: folder / "final" / f"{config_hash}-{seed}" / "model" for seed in seeds}
    for seed, path in folders.items():
        torch.manual_seed(seed)
        save_checkpoint(path, RIGSL(CONFIG.replace(seed=seed), corpus.schema))
    return Checkpoints(side, config_hash, config_hash, folders)


def test_what_was_tested_is_not_tested_again(tmp_path: Path) -> None:
    winner, baseline = trained(tmp_path, "winner", "aa", (1, 2)), trained(tmp_path, "baseline", "bb", (1, 2))
    first = open_test(tmp_path, make_corpus(), [winner, baseline], WORKERS)
    assert was_tested(tmp_path, [winner, baseline])
    again = open_test(tmp_path, make_corpus(), [winner, baseline], WORKERS)
    assert len(read_final_record(tmp_path).openings) == 1
    assert again["winner"].weights == first["winner"].weights
    np.testing.assert_array_equal(again["winner"].predicted, first["winner"].predicted)
    gone = dataclasses.replace(winner, folders={seed: path / "gone" for seed, path in winner.folders.items()})
    assert was_tested(tmp_path, [gone, baseline]), "weights that were removed since are tested all the same"


@pytest.mark.parametrize("difference", ["configuration", "seeds", "weights", "no baseline"])
def test_other_checkpoints_are_not_taken_for_tested_ones(tmp_path: Path, difference: str) -> None:
    winner, baseline = trained(tmp_path, "winner", "aa", (1, 2)), trained(tmp_path, "baseline", "bb", (1, 2))
    open_test(tmp_path, make_corpus(), [winner, baseline], WORKERS)
    wanted = [winner, baseline]
    if difference == "configuration":
        wanted = [trained(tmp_path, "winner", "cc", (1, 2)), baseline]
    elif difference == "seeds":
        wanted = [trained(tmp_path, "winner", "aa", (1, 2, 3)), baseline]
    elif difference == "weights":
        save_checkpoint(winner.folders[1], RIGSL(CONFIG.replace(seed=9), make_corpus().schema))
    else:
        wanted = [winner]
    assert not was_tested(tmp_path, wanted)


def test_a_test_that_fails_half_way_leaves_no_false_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = trained(tmp_path, "winner", "aa", (1, 2)), trained(tmp_path, "winner", "cc", (1, 2))
    open_test(tmp_path, make_corpus(), [old], WORKERS)

    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", broken)
        with pytest.raises(OSError, match="gone"):
            open_test(tmp_path, make_corpus(), [new], WORKERS)
    assert not was_tested(tmp_path, [new]), "the predictions on disk are the old winner's"
    found = open_test(tmp_path, make_corpus(), [new], WORKERS)["winner"]
    assert found.config_hash == read_predictions(tmp_path)["winner"].config_hash == "cc"
    assert len(read_final_record(tmp_path).openings) == 3, "every look at test is recorded, failed ones too"


@pytest.mark.parametrize(
    "damage",
    ["empty", "cut off", "other bytes", "lacks an array", "other shapes", "encrypted", "other compression"],
)
def test_damaged_predictions_are_named_and_made_again(tmp_path: Path, damage: str) -> None:
    winner = trained(tmp_path, "winner", "aa", (1, 2))
    whole = open_test(tmp_path, make_corpus(), [winner], WORKERS)["winner"]
    path = tmp_path / PREDICTIONS
    content = path.read_bytes()
    if damage == "lacks an array":
        np.savez(path, winner=whole.predicted)
    elif damage == "other shapes":
        arrays = dict(np.load(path))
        np.savez(path, **(arrays | {"labels": arrays["labels"][1:]}))
    elif damage in ("encrypted", "other compression"):
        at, value = {"encrypted": (8, 1), "other compression": (10, 99)}[
            damage
        ]  # of an entry of the directory
        damaged = bytearray(content)
        damaged[content.index(b"PK\x01\x02") + at] = value
        path.write_bytes(damaged)
    else:
        middle = len(content) // 2
        other = bytes(byte ^ 0x55 for byte in content[100:middle])
        path.write_bytes(
            {
                "empty": b"",
                "cut off": content[:middle],
                "other bytes": content[:100] + other + content[middle:],
            }[damage]
        )
    with pytest.raises(UserError, match=rf"{PREDICTIONS}: is damaged; restore it from a copy") as told:
        read_predictions(tmp_path)
    assert "\n" not in str(told.value)
    assert not was_tested(tmp_path, [winner])
    again = open_test(tmp_path, make_corpus(), [winner], WORKERS)["winner"]
    np.testing.assert_array_equal(again.predicted, whole.predicted)
    assert len(read_final_record(tmp_path).openings) == 2, "it is another look at test"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_predictions_that_cannot_be_read_for_a_moment_open_no_test(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = trained(tmp_path, "winner", "aa", (1, 2))
    open_test(tmp_path, make_corpus(), [winner], WORKERS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", refuse)
        with pytest.raises(UserError, match=rf"{PREDICTIONS}: cannot be read \({os.strerror(number)}\)"):
            open_test(tmp_path, make_corpus(), [winner], WORKERS)
    assert was_tested(tmp_path, [winner])
    assert len(read_final_record(tmp_path).openings) == 1


@pytest.mark.parametrize(("exported_openings", "believed"), [(1, True), (0, False)])
def test_predictions_of_version_0_1_0_are_believed_if_their_export_followed(
    tmp_path: Path, exported_openings: int, believed: bool
) -> None:
    winner = trained(tmp_path, "winner", "aa", (1, 2))
    runs = open_test(tmp_path, make_corpus(), [winner], WORKERS)["winner"]
    evaluation._write_predictions(tmp_path, {"winner": dataclasses.replace(runs, config_hash="", weights=())})
    names = tuple(sorted(str(path.relative_to(tmp_path)) for path in winner.folders.values()))
    opening = Opening("2026-01-01T00:00:00+00:00", "2 trainings of trial 1", "validation")
    write_final_record(tmp_path, FinalRecord(tested={"winner": names}, openings=(opening,)))
    (tmp_path / "best").mkdir()
    metrics = {"openings": [vars(opening)] * exported_openings}
    (tmp_path / "best" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert was_tested(tmp_path, [winner]) is believed
