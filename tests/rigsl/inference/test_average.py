"""An average predicts the mean of its members' probabilities, and is stored and loaded as one thing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.corpora import part_of
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.open.emotions import for_model, without_emotions
from rigsl.data.source import load_corpus
from rigsl.errors import UserError
from rigsl.files import permissions
from rigsl.inference.average import (
    MANIFEST,
    Average,
    evaluate_model,
    load_average,
    load_model,
    log_probabilities,
    mean_log_prob,
    modals_of,
    model_digest,
    save_average,
)
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import CONFIG, WEIGHTS, save_checkpoint
from rigsl.training.evaluation import evaluate, predict
from tests.helpers.corpora import toy_corpus

TINY = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, use_gumbel=False
)
#: Other backbones, widths and modalities, and the official way of making batches.
CONFIGS = (
    TINY,
    TINY.replace(backbone="GAT", hidden_dim=16, modals="l"),
    TINY.replace(backbone="M3Net", modals="d", num_L=2),
    TINY.replace(official_quirks=True, batch_size=3),
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus()


@pytest.fixture(scope="module")
def members(corpus: Corpus) -> list[RIGSL]:
    torch.manual_seed(0)
    return [RIGSL(config, corpus.schema).eval() for config in CONFIGS]


@pytest.fixture
def folder(members: list[RIGSL], tmp_path: Path) -> Path:
    save_average(tmp_path / "average", members[:3])
    return tmp_path / "average"


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_average_is_the_mean_of_the_probabilities(corpus: Corpus, members: list[RIGSL]) -> None:
    mean = np.mean([np.exp(predict(member, corpus).astype(np.float64)) for member in members], axis=0)
    log_prob = log_probabilities(Average(tuple(members)), corpus)
    assert log_prob.dtype == np.float32
    np.testing.assert_array_equal(log_prob, np.log(mean).astype(np.float32))
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=1), 1.0, atol=1e-6)


def test_the_order_of_the_members_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=20, size=(6, 500, 7))
    parts = (logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).astype(np.float32)
    expected = mean_log_prob(list(parts)).tobytes()
    for order in itertools.permutations(range(6)):
        assert mean_log_prob([parts[index] for index in order]).tobytes() == expected


def test_no_utterance_changes_a_bit_of_another() -> None:
    parts = np.log(np.random.default_rng(0).dirichlet(np.ones(5), size=(9, 40))).astype(np.float32)
    together = mean_log_prob(list(parts))
    for row in range(40):
        np.testing.assert_array_equal(mean_log_prob(list(parts[:, row : row + 1]))[0], together[row])


def test_the_mean_of_equal_members_is_the_member(corpus: Corpus, members: list[RIGSL]) -> None:
    alone = predict(members[0], corpus)
    for model in (members[0], Average((members[0],)), Average((members[0],) * 3)):
        np.testing.assert_array_equal(log_probabilities(model, corpus), alone)


def test_no_rounding_error_reaches_a_sure_prediction() -> None:
    logits = np.random.default_rng(0).normal(scale=30, size=(300, 7))
    log_prob = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    assert (log_prob == 0).any()
    for count in range(1, 30):
        np.testing.assert_array_equal(mean_log_prob([log_prob] * count), log_prob)


def test_probabilities_that_float32_does_not_hold_are_averaged() -> None:
    tiny, none = np.float32([[-800.0, 0.0]]), np.float32([[-np.inf, 0.0]])
    np.testing.assert_array_equal(mean_log_prob([tiny, tiny]), tiny)
    np.testing.assert_allclose(mean_log_prob([tiny, none]), [[-800 - np.log(2), 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(mean_log_prob([none, none]), none)


def test_a_dialogue_does_not_depend_on_the_others(corpus: Corpus, members: list[RIGSL]) -> None:
    average = Average(tuple(members))
    together = log_probabilities(average, corpus)
    for index in range(0, len(corpus.lengths), 5):
        alone = log_probabilities(average, part_of(corpus, np.array([index])))
        np.testing.assert_allclose(alone, together[corpus.rows(np.array([index]))], atol=1e-5)


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_is_its_rows_of_the_corpus(corpus: Corpus, members: list[RIGSL], split: str) -> None:
    rows = corpus.rows(corpus.dialogues(split))
    for model in (members[1], Average(tuple(members))):
        some = log_probabilities(model, corpus.without_test_labels(), split=split)
        np.testing.assert_allclose(some, log_probabilities(model, corpus)[rows], atol=1e-5)
    only_train = dataclasses.replace(corpus, splits=np.zeros_like(corpus.splits))
    if split != "train":
        with pytest.raises(UserError, match=f"the {split} split is empty"):
            log_probabilities(members[0], only_train, split=split)


def test_the_scores_are_those_of_the_mean_of_the_evaluations(corpus: Corpus, members: list[RIGSL]) -> None:
    result = evaluate_model(Average(tuple(members)), corpus, "dev")
    parts = [evaluate(member, corpus, "dev") for member in members]
    np.testing.assert_array_equal(result.log_prob, mean_log_prob([part.log_prob for part in parts]))
    np.testing.assert_array_equal(result.rows, parts[0].rows)
    np.testing.assert_array_equal(result.labels, corpus.labels[result.rows])
    picked = result.log_prob[np.arange(len(result.labels)), result.labels]
    assert result.scores.loss == pytest.approx(-picked.mean(), rel=1e-6)
    assert result.scores.accuracy == np.mean(result.log_prob.argmax(axis=1) == result.labels)
    single = evaluate_model(members[0], corpus, "dev")
    assert single.scores == parts[0].scores
    with pytest.raises(UserError, match="labels of the test split are hidden"):
        evaluate_model(Average(tuple(members)), corpus.without_test_labels(), "test")


def test_an_average_reads_what_any_member_reads(members: list[RIGSL]) -> None:
    assert modals_of(members[2]) == ("d",)
    assert modals_of(Average((members[2], members[1]))) == ("l", "d")
    assert modals_of(Average((members[1],))) == ("l",)


def test_members_of_different_data_are_refused(corpus: Corpus, members: list[RIGSL]) -> None:
    with pytest.raises(UserError, match="an average needs at least one model"):
        Average(())
    wider = RIGSL(TINY, toy_corpus(widths={"l": 8, "d": 6}).schema)
    with pytest.raises(
        UserError, match="member 1 of the average was trained on other features than member 0"
    ):
        Average((members[0], wider))
    classes = RIGSL(TINY, toy_corpus(classes=5).schema)
    with pytest.raises(UserError, match="member 2 of the average was trained on other classes than member 0"):
        Average((members[0], members[1], classes))


def test_members_from_before_the_emotions_find_their_features() -> None:
    bundled = load_corpus("MELD", "open")
    earlier = without_emotions(bundled)
    average = Average(tuple(RIGSL(TINY.replace(modals=read), earlier.schema) for read in ("ld", "d", "l")))
    some = bundled.dialogues("dev")[:3]
    expected = log_probabilities(average, part_of(earlier, some))
    found = for_model(bundled, average.schema.widths)
    np.testing.assert_array_equal(log_probabilities(average, part_of(found, some)), expected)
    with pytest.raises(UserError, match="reads modality 'd' with width"):
        log_probabilities(average, part_of(bundled, some))
    with pytest.raises(UserError, match="other features than member 0"):
        Average((RIGSL(TINY, bundled.schema), *average.members))


def test_what_is_loaded_predicts_as_what_was_saved(
    corpus: Corpus, members: list[RIGSL], folder: Path, tmp_path: Path
) -> None:
    average = load_model(folder)
    assert isinstance(average, Average)
    assert [member.config for member in average.members] == list(CONFIGS[:3])
    assert not any(member.training for member in average.members)
    expected = log_probabilities(Average(tuple(members[:3])), corpus)
    np.testing.assert_array_equal(log_probabilities(average, corpus), expected)
    assert contents(folder) == {
        MANIFEST, *(f"member_0{number}/{name}" for number in range(3) for name in (CONFIG, WEIGHTS))
    }  # fmt: skip
    save_checkpoint(tmp_path / "single", members[1])
    single = load_model(tmp_path / "single")
    assert isinstance(single, RIGSL)
    np.testing.assert_array_equal(log_probabilities(single, corpus), predict(members[1], corpus))


def test_an_older_average_is_replaced_as_a_whole_and_other_files_are_kept(
    members: list[RIGSL], folder: Path
) -> None:
    (folder / "metrics.json").write_text("{}")
    before = model_digest(folder)
    save_average(folder, members[3:])
    assert contents(folder) == {MANIFEST, "metrics.json", *(f"member_00/{n}" for n in (CONFIG, WEIGHTS))}
    assert [member.config for member in load_average(folder).members] == [CONFIGS[3]]
    assert model_digest(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["average"]


def test_an_average_that_cannot_be_written_leaves_the_older_one(
    members: list[RIGSL], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "metrics.json").write_text("{}")
    before, digest = contents(folder), model_digest(folder)
    written: list[Path] = []

    def fails(path: Path, model: RIGSL) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        save_checkpoint(path, model)

    monkeypatch.setattr("rigsl.inference.average.save_checkpoint", fails)
    with pytest.raises(OSError, match="No space left"):
        save_average(folder, members)
    assert contents(folder) == before
    assert model_digest(folder) == digest
    assert len(load_average(folder).members) == 3
    assert [path.name for path in folder.parent.iterdir()] == ["average"]
    with pytest.raises(UserError, match="needs at least one model"):
        save_average(folder.parent / "none", [])
    assert not (folder.parent / "none").exists()


def test_files_and_folders_have_the_permissions_of_the_umask(members: list[RIGSL], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_average(tmp_path / "average", members[:2])
    finally:
        os.umask(before)
    paths = [tmp_path / "average", *(tmp_path / "average").rglob("*")]
    assert {permissions(path) for path in paths if path.is_dir()} == {0o750}
    assert {permissions(path) for path in paths if path.is_file()} == {0o640}


def _other_weights(folder: Path) -> None:
    weights = (folder / "member_02" / WEIGHTS).read_bytes()
    (folder / "member_02" / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))


def _changed(folder: Path, **changes: object) -> None:
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / MANIFEST).unlink(), "average: is not a whole average (it has no average.json); copy"),
        (lambda f: (f / MANIFEST).write_text("{"), "average.json: is damaged; restore it from a copy"),
        (lambda f: (f / MANIFEST).write_text("[]"), "average.json: is damaged; restore it from a copy"),
        (lambda f: _changed(f, format=2), "average.json: has format 2, but this version of"),
        (lambda f: _changed(f, members=3), "average.json: is damaged; restore"),
        (lambda f: _changed(f, members=[]), "average.json: is damaged; restore"),
        (lambda f: _changed(f, members=[{WEIGHTS: "0"}]), "average.json: is damaged; restore"),
        (lambda f: _changed(f, members=[{WEIGHTS: 0, CONFIG: 0}]), "average.json: is damaged; restore"),
        (lambda f: (f / "member_01" / WEIGHTS).unlink(), f"member_01/{WEIGHTS}: is missing; restore"),
        (lambda f: (f / "member_00" / CONFIG).unlink(), f"member_00/{CONFIG}: is missing; restore"),
        (lambda f: (f / "member_00").rename(f / "other"), f"member_00/{CONFIG}: is missing; restore"),
        (_other_weights, f"member_02/{WEIGHTS}: is not the file that average.json names; restore"),
        (
            lambda f: (f / "member_01").rename(f / "x") and (f / "member_02").rename(f / "member_01"),
            f"member_01/{CONFIG}: is not the file that average.json names; restore",
        ),
        (
            lambda f: (f / "member_00" / CONFIG).write_text("hidden_dim = 8\n"),
            f"member_00/{CONFIG}: is not the file that average.json names; restore",
        ),
        (lambda f: (f / CONFIG).touch(), f"a checkpoint ({CONFIG}) and an average ({MANIFEST}); move"),
    ],
)  # fmt: skip
def test_a_damaged_average_is_one_sentence_that_names_the_file(folder: Path, spoil, says: str) -> None:
    spoil(folder)
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert says in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_members_that_do_not_fit_together_name_the_folder(members: list[RIGSL], folder: Path) -> None:
    other = RIGSL(TINY, toy_corpus(classes=5).schema)
    save_average(folder.parent / "other", [other])
    (folder / "member_01").rename(folder.parent / "aside")
    (folder.parent / "other" / "member_00").rename(folder / "member_01")
    digests = [
        json.loads((path / MANIFEST).read_text())["members"] for path in (folder, folder.parent / "other")
    ]
    _changed(folder, members=[digests[0][0], digests[1][0], digests[0][2]])
    with pytest.raises(UserError, match=r"average: member 1 of the average was trained on other classes"):
        load_model(folder)


def test_a_folder_with_neither_is_no_checkpoint(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"is not a checkpoint \(it has no config\.toml\)"):
            load_model(place)


def test_the_digest_tells_weights_apart(members: list[RIGSL], folder: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", members[0])
    save_checkpoint(tmp_path / "b", members[1])
    save_average(tmp_path / "again", members[:3])
    save_average(tmp_path / "fewer", members[:2])
    digests = {name: model_digest(tmp_path / name) for name in ("a", "b", "average", "again", "fewer")}
    assert digests["average"] == digests["again"]
    assert len(set(digests.values())) == 4
