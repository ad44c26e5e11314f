"""Registries are complete: every backbone, sparsifier and dataset works from end to end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rigsl.config import BACKBONES, SPARSIFIERS, RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.official.files import LAYOUTS
from rigsl.data.source import DATASETS, FEATURES, Dataset, check_datasets, dataset_name, load_corpus
from rigsl.errors import UserError
from rigsl.memory import Shapes, estimate_epoch_seconds, estimate_peak_bytes
from rigsl.model import backbones
from rigsl.model.backbones import Backbone, check_backbones
from rigsl.official.flags import official_command, to_official_flags, without_official_form
from rigsl.official.names import FOCAL_GAMMA, OFFICIAL_BACKBONES
from rigsl.official.presets import PUBLISHED
from rigsl.registry import RegistrationError, require_same_names
from rigsl.training.fit import fit
from tests.helpers.corpora import toy_corpus

CONFIG = RIGSLConfig(
    modals="lav", hidden_dim=8, num_L=1, num_K=1, gumbel_k=2, nb_features_dim=4, nodeformer_heads=1, epochs=1
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus(dialogues=10, widths={"l": 8, "a": 4, "v": 3})


@pytest.mark.parametrize("sparsifier", SPARSIFIERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_and_sparsifier_is_estimated_and_trains(
    backbone: str, sparsifier: str, corpus: Corpus
) -> None:
    config = CONFIG.replace(backbone=backbone, sparsifier=sparsifier)
    shapes = Shapes.of(corpus)
    for device in ("cpu", "cuda"):
        assert estimate_peak_bytes(config, shapes, device=device) > 0
        assert estimate_epoch_seconds(config, shapes, device=device) > 0
    report = fit(config, corpus).best
    assert np.isfinite(report.train_loss)
    assert report.epoch == 1


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_an_official_command_or_the_sentence_that_there_is_none(
    backbone: str, dataset: str
) -> None:
    text = official_command(CONFIG.replace(backbone=backbone), dataset)
    *notes, last = text.splitlines()
    assert all(note.startswith("# not in the official code: ") for note in notes)
    if OFFICIAL_BACKBONES[backbone] is None or dataset not in FOCAL_GAMMA:
        assert not notes
        assert last.startswith("# the official code has no ")
    else:
        assert last.startswith(f"python train.py --Dataset={dataset} ")
        assert f"--backbone={backbone} " in last


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("features", FEATURES)
def test_every_dataset_gives_a_corpus_or_a_sentence(dataset: str, features: str, tmp_path) -> None:
    for name in (dataset, dataset.lower(), dataset.title()):
        assert dataset_name(name) == dataset
        with pytest.raises(UserError, match=r"is not there|are not in|there are no"):
            load_corpus(name, features, tmp_path)


def test_a_dataset_with_a_corpus_file_alone_is_loaded_by_its_name(
    monkeypatch, corpus: Corpus, tmp_path
) -> None:
    monkeypatch.setitem(DATASETS, "EmoryNLP", Dataset(open_file="emorynlp.safetensors"))
    with pytest.raises(UserError, match=r"emorynlp\.safetensors: is not there; put it there"):
        load_corpus("emorynlp", "open", tmp_path)
    corpus.save(tmp_path / "emorynlp.safetensors")
    for features in ("auto", "open"):
        assert load_corpus("emorynlp", features, tmp_path).content_hash() == corpus.content_hash()
    with pytest.raises(UserError, match="there are no official features of EmoryNLP"):
        load_corpus("EmoryNLP", "official", tmp_path)


def test_what_the_official_code_does_not_have_is_a_comment_line(monkeypatch) -> None:
    assert official_command(CONFIG, "EmoryNLP") == "# the official code has no dataset 'EmoryNLP'"
    monkeypatch.setitem(OFFICIAL_BACKBONES, "GAT", None)
    config = CONFIG.replace(backbone="GAT")
    assert official_command(config, "MELD") == "# the official code has no backbone 'GAT'"
    for refused in (to_official_flags, without_official_form):
        with pytest.raises(UserError, match="the official code has no dataset 'EmoryNLP'"):
            refused(CONFIG, "EmoryNLP")
    with pytest.raises(UserError, match="the official code has no backbone 'GAT'"):
        without_official_form(config, "MELD")


@pytest.mark.parametrize("name", ["meld", "Meld", "MELD"])
def test_the_case_of_a_dataset_does_not_matter_to_the_official_command(name: str) -> None:
    assert official_command(CONFIG, name) == official_command(CONFIG, "MELD")
    assert "--Dataset=MELD " in official_command(CONFIG, name)


def test_official_datasets_have_files_losses_and_a_preset() -> None:
    official = {name for name, dataset in DATASETS.items() if dataset.official}
    assert official == set(LAYOUTS) == set(FOCAL_GAMMA)
    assert {f"official/{name.lower()}" for name in official} == set(PUBLISHED)


def test_an_entry_that_one_table_lacks_is_named_with_the_table() -> None:
    tables = {"here": ("a", "b"), "there": ("b", "a"), "nowhere": ("b",)}
    require_same_names("thing", {"here": ("a", "b"), "there": ("b", "a")})
    with pytest.raises(RegistrationError, match="the thing 'a' is registered in here but not in nowhere"):
        require_same_names("thing", tables)


def test_a_half_registered_backbone_is_refused() -> None:
    class Unfinished(Backbone):
        """Declares neither a width nor a fusion."""

    complete = dict(backbones.BACKBONES)
    check_backbones(complete)
    with pytest.raises(RegistrationError, match=r"the backbone 'GCN' .* but not in rigsl\.model\.backbones"):
        check_backbones({name: complete[name] for name in complete if name != "GCN"})
    with pytest.raises(RegistrationError, match=r"'GIN' .* but not in rigsl\.config\.BACKBONES"):
        check_backbones(complete | {"GIN": complete["GCN"]})
    with pytest.raises(RegistrationError, match="'GAT' does not define forward, width, fusion"):
        check_backbones(complete | {"GAT": Unfinished})


@pytest.mark.parametrize(
    ("module", "table"),
    [
        ("rigsl.model.backbones", "rigsl.model.backbones.BACKBONES"),
        ("rigsl.official.names", "rigsl.official.names.OFFICIAL_BACKBONES"),
    ],
)
def test_a_name_in_the_configuration_alone_fails_at_import(module: str, table: str) -> None:
    code = f"import rigsl.config as c; c.BACKBONES += ('GIN',); import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "rigsl.registry.RegistrationError: the backbone 'GIN' is registered in rigsl.config.BACKBONES but "
        f"not in {table}; add it there, too"
    )


def test_a_backbone_without_memory_stages_fails_at_import() -> None:
    code = """
import rigsl.config, rigsl.model.backbones as b
rigsl.config.BACKBONES += ("GIN",)
b.BACKBONES["GIN"] = b.BACKBONES["GCN"]
import rigsl.memory
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "'GIN' is registered in rigsl.config.BACKBONES but not in rigsl.memory.model.BACKBONE_STAGES" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("datasets", "complaint"),
    [
        ({"X": Dataset()}, "the dataset 'X' has neither an open file nor official files"),
        (
            {"X": Dataset(official=True)},
            r"the official dataset 'X' .* not in rigsl\.data\.official\.files",
        ),
        ({"Meld": Dataset(open_file="m.safetensors")}, "is registered twice, in different case"),
    ],
)
def test_a_half_registered_dataset_is_refused(datasets: dict[str, Dataset], complaint: str) -> None:
    check_datasets(DATASETS, dict(LAYOUTS))
    with pytest.raises(RegistrationError, match=complaint):
        check_datasets(DATASETS | datasets, dict(LAYOUTS))
    with pytest.raises(RegistrationError, match=r"'MELD' .* but not in rigsl\.data\.source\.DATASETS"):
        check_datasets({"IEMOCAP": DATASETS["IEMOCAP"]}, dict(LAYOUTS))
