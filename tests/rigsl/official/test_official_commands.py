"""The official command lines and checkpoints: parsed verbatim, run, and computing the official numbers."""

import collections
import dataclasses
import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rigsl.cli.main import main
from rigsl.config import RIGSLConfig, from_mapping
from rigsl.data import source
from rigsl.data.official.files import LAYOUTS
from rigsl.data.source import load_corpus
from rigsl.errors import UserError
from rigsl.official import flags as official_flags
from rigsl.official.flags import (
    FLAGS,
    from_official_flags,
    official_command,
    to_official_flags,
    without_official_form,
)
from rigsl.official.presets import preset
from rigsl.official.state import official_projection
from rigsl.training.checkpoint import load_checkpoint
from rigsl.training.evaluation import evaluate, evaluation_batch
from tests.helpers.commands import refusal
from tests.helpers.corpora import corpus_from_arrays
from tests.helpers.official_files import write_official

TRAIN_IEMOCAP = (
    "--Dataset=IEMOCAP --av_using_lstm=False --backbone=M3Net --base_model=GRU --batch_size=8 "
    "--class_weight=True --denoise_dropout=0.4 --dropout=0.3 --epochs=80 --gamma=-0.95 --gumbel_k=64 "
    "--hidden_dim=512 --l2=3e-05 --link_loss_coff=0.1 --link_loss_epoch=15 --lr=0.0001 --modals=avl "
    "--nb_features_dim=32 --nodeformer_dropout=0.4 --nodeformer_heads=6 --norm=None --num_K=2 --num_L=4 "
    "--penalty_weight_coff=0.0005 --seed=1475 --tau=0.2 --temperature=1.5 --testing=False --use_gumbel=True "
    "--use_jk_nodeformer=False --use_residue=False --use_residue_denoise=True --use_residue_nodeformer=True "
    "--use_speaker=True --use_wandb=False --windowf=10 --windowp=10 --zeta=1.05"
)
TRAIN_MELD = (
    "--Dataset=MELD --av_using_lstm=False --backbone=M3Net --base_model=GRU --batch_size=16 "
    "--class_weight=True --denoise_dropout=0 --dropout=0.4 --epochs=40 --gamma=-0.95 --gumbel_k=4 "
    "--hidden_dim=512 --l2=3e-05 --link_loss_coff=0.1 --link_loss_epoch=10 --lr=0.0001 --modals=avl "
    "--nb_features_dim=64 --nodeformer_dropout=0.3 --nodeformer_heads=8 --norm=None --num_K=3 --num_L=2 "
    "--penalty_weight_coff=0.0005 --seed=44751 --tau=0.4 --temperature=1 --testing=False --use_gumbel=True "
    "--use_jk_nodeformer=False --use_residue=True --use_residue_denoise=True --use_residue_nodeformer=True "
    "--use_speaker=True --use_wandb=False --windowf=10 --windowp=10 --zeta=1.05"
)
TEST_IEMOCAP = (
    "--Dataset=IEMOCAP --av_using_lstm=False --backbone=M3Net --base_model=GRU --batch_size=8 "
    "--class_weight=True --denoise_dropout=0.4 --dropout=0.3 --gamma=-0.95 --gumbel_k=64 --hidden_dim=512 "
    "--l2=3e-05 --link_loss_coff=0.1 --link_loss_epoch=15 --lr=0.0001 --modals=avl --nb_features_dim=32 "
    "--nodeformer_dropout=0.4 --nodeformer_heads=6 --norm=None --num_K=2 --num_L=4 "
    "--penalty_weight_coff=0.0005 --tau=0.2 --temperature=1.5 --testing=True --use_gumbel=True "
    "--use_jk_nodeformer=False --use_residue=False --use_residue_denoise=True --use_residue_nodeformer=True "
    "--use_speaker=True --use_wandb=False --windowf=10 --windowp=10 --zeta=1.05 "
    "--model_path=checkpoints/IEMOCAP.pkl"
)
PUBLISHED = pytest.mark.parametrize(
    ("name", "flags"), [("official/iemocap", TRAIN_IEMOCAP), ("official/meld", TRAIN_MELD)]
)
GOLDEN = Path(__file__).parents[2] / "golden"
MODELS = ["gat_iemocap", "gcn_iemocap", "gcn_meld", "m3net_iemocap", "m3net_meld", "mmgcn_iemocap"]


def _parsed(flags):
    parser = official_flags.argparse.ArgumentParser()
    official_flags.official_arguments(parser)
    return from_official_flags(vars(parser.parse_args(shlex.split(flags))))


@PUBLISHED
def test_flags_become_a_configuration_and_the_same_flags_again(name, flags):
    run = _parsed(flags)
    assert run == dataclasses.replace(preset(name), notes=run.notes)
    assert to_official_flags(run.config, run.dataset) == flags
    assert run.config.class_weight == "inverse"
    assert (run.config.windowp, run.config.windowf) == (-1, -1)
    assert run.config.focal_gamma == (0.5 if run.dataset == "MELD" else 0.0)
    given = dict(text.removeprefix("--").split("=") for text in flags.split())
    for key in given.keys() & run.config.to_dict().keys() - official_flags.UNREAD.keys() - {"modals"}:
        assert str(getattr(run.config, key)).removesuffix(".0") == given[key], key


def test_flags_that_are_not_given_have_the_official_defaults():
    run = _parsed("")
    assert (run.dataset, run.config.backbone, run.config.norm, run.config.num_K) == (
        "IEMOCAP",
        "GCN",
        "LN2",
        4,
    )
    assert not run.notes


def test_any_configuration_comes_back_from_its_flags():
    config = RIGSLConfig(
        modals="avl", backbone="GAT", tau=1 / 3, lr=1.2345678e-4, norm="BN", seed=7, class_weight="inverse"
    )
    assert _parsed(to_official_flags(config, "MELD")).config == config
    assert without_official_form(config, "MELD") == ()
    assert official_command(config, "MELD").startswith("python train.py --Dataset=MELD ")


def test_what_the_official_code_cannot_do_is_listed():
    config = RIGSLConfig(modals="ld", class_weight="sqrt", windowp=5, precision="bf16", backbone="MMGCN")
    lines = official_command(config, "MELD").splitlines()
    notes = "\n".join(lines[:-1])
    for part in ("class_weight = sqrt", "windowp = 5", "precision = bf16", "modals = ld", "IEMOCAP only"):
        assert part in notes
    assert all(line.startswith("# not in the official code: ") for line in lines[:-1])
    (note,) = without_official_form(RIGSLConfig(modals="avl", tau=0.3), "MELD")
    assert note.startswith("denoise_dropout = 0.4, gamma = -0.95, ")
    assert note.endswith("(the official M3Net never reads them)")


def test_presets_are_named():
    with pytest.raises(UserError, match="the presets are official/iemocap, official/meld"):
        preset("official/friends")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Both datasets' files in the project's own data folder, and a working directory."""
    for dataset in LAYOUTS:
        write_official(tmp_path / "data", dataset)
    monkeypatch.setattr(source, "DATA_DIR", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = ["--hidden_dim=16", "--epochs=2", "--device=cpu"]  # the last one of a flag wins


@pytest.mark.parametrize("flags", [TRAIN_IEMOCAP, TRAIN_MELD])
def test_the_official_training_commands_run(files, capsys, flags):
    assert main(["train", *flags.split(), *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "--windowf, --windowp: it always uses" in shown
    assert shown.count("never reads --base_model") == 1
    (folder,) = (files / "checkpoints").iterdir()
    dataset = "MELD" if "MELD" in flags else "IEMOCAP"
    model = load_checkpoint(folder)
    assert folder.name == f"{dataset}-{model.config.content_hash()}"
    assert not model.config.official_quirks
    assert model.schema.n_speakers == LAYOUTS[dataset].n_speakers
    assert main(["test", "--checkpoint", str(folder), "--dataset", dataset, "--device", "cpu"]) == 0
    assert main(["test", f"--Dataset={dataset}", f"--model_path={folder}", "--device=cpu"]) == 0
    assert f"on {dataset}-official, test split" in capsys.readouterr().out


def _official_state(name, *, widths=None):
    """The state dict of an official model as it is on disk, unused entries and all; config; recorded file."""
    recorded = np.load(GOLDEN / f"{name}.npz", allow_pickle=False)
    state = {
        key.removeprefix("state/"): torch.from_numpy(recorded[key])
        for key in recorded.files
        if key.startswith("state/")
    }
    for key, shape in json.loads(str(recorded["unused_state_shapes"])).items():
        state[key] = torch.randn(shape)
    for letter, width in (widths or {}).items():
        state[f"linear_{letter}.weight"] = torch.randn(16, width) / width**0.5
    return state, json.loads(str(recorded["config"])), recorded


def _flags(config):
    names = FLAGS.keys() & config.keys()
    return [f"--Dataset={config['dataset']}", *(f"--{name}={config[name]}" for name in sorted(names))]


def _golden_corpus(config, recorded):
    views = np.stack([recorded[f"input/text{view}"] for view in (1, 2, 3, 4)], axis=1)
    corpus = corpus_from_arrays(
        {"l": views, "a": recorded["input/audio"], "v": recorded["input/visual"]},
        recorded["input/label"],
        recorded["input/speaker"],
        recorded["input/length"].tolist(),
        config["n_classes"],
        splits=[2] * len(config["lengths"]),
        text_default="first" if config["dataset"] == "IEMOCAP" else "mean",
    )
    return dataclasses.replace(corpus, classes=LAYOUTS[config["dataset"]].classes)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_imported_checkpoint_computes_the_official_numbers(tmp_path, capsys, name, wrapped):
    state, config, recorded = _official_state(name)
    path = tmp_path / "official.pth"
    if wrapped:
        torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(collections.OrderedDict(state), path)
    assert main(["import-checkpoint", str(path), "--device", "cpu", *_flags(config)]) == 0
    assert f"{path} -> {tmp_path / 'official'}: {config['backbone']}" in capsys.readouterr().out
    model = load_checkpoint(tmp_path / "official")
    assert model.config.official_quirks
    assert model.schema.n_speakers == config["n_speakers"]
    evaluation = evaluate(model, _golden_corpus(config, recorded), "test")
    np.testing.assert_allclose(evaluation.log_prob, recorded["output/log_prob"], rtol=1e-4, atol=1e-5)


def test_the_projection_is_drawn_as_the_official_code_draws_it():
    for name in MODELS:
        recorded = np.load(GOLDEN / f"{name}.npz", allow_pickle=False)["projection"][0]
        projection = official_projection(*recorded.shape)
        torch.testing.assert_close(projection, torch.from_numpy(recorded), rtol=1e-5, atol=1e-6)
    blocked = official_projection(40, 16)
    unit = blocked / blocked.norm(dim=1, keepdim=True)
    for block in (unit[:16], unit[16:32], unit[32:]):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)), rtol=0, atol=1e-5)
    assert not torch.equal(unit[:8], unit[16:24])


def test_the_official_evaluation_command(files, capsys):
    """Batches in the order of the file, and the same scores from the file and from its imported folder."""
    layout = LAYOUTS["IEMOCAP"]
    widths = {"l": 1024, "a": layout.widths["audio"], "v": layout.widths["visual"]}
    state, config, _ = _official_state("m3net_iemocap", widths=widths)
    (files / "checkpoints").mkdir()
    torch.save(state, files / "checkpoints" / "IEMOCAP.pkl")
    changed = [flag for flag in _flags(config) if "Dataset" not in flag]
    assert main(["test", *TEST_IEMOCAP.split(), *changed, "--device=cpu"]) == 0
    direct = capsys.readouterr().out
    assert "never reads --base_model" in direct
    assert "checkpoints/IEMOCAP.pkl on IEMOCAP-official, test split" in direct
    arguments = [*TEST_IEMOCAP.split()[:-1], *changed, "--out=imported", "--device=cpu"]
    assert main(["import-checkpoint", "checkpoints/IEMOCAP.pkl", *arguments]) == 0
    assert main(["test", "--checkpoint", "imported", "--dataset", "IEMOCAP", "--device", "cpu"]) == 0
    imported = capsys.readouterr().out
    assert direct.splitlines()[-1] == imported.splitlines()[-1]
    model = load_checkpoint(files / "imported")
    assert evaluation_batch(model.config) == 8
    corpus = load_corpus("IEMOCAP", "official")
    by_eight, by_one = (evaluate(model, corpus, "test", batch_size=size).log_prob for size in (8, 1))
    assert np.array_equal(by_eight, evaluate(model, corpus, "test").log_prob)
    assert not np.allclose(by_eight, by_one, atol=1e-4)  # so the batch matters, and it is the official one


@pytest.mark.parametrize("name", MODELS)
def test_without_flags_they_are_inferred_from_the_weights(tmp_path, name):
    state, config, _ = _official_state(name)
    torch.save(state, tmp_path / "x.pkl")
    given = ["--preset", f"official/{config['dataset'].lower()}", *_flags(config)]
    for arguments in ([], given):
        assert main(["import-checkpoint", str(tmp_path / "x.pkl"), "--device", "cpu", *arguments]) == 0
        inferred = load_checkpoint(tmp_path / "x").config
        for key in ("backbone", "hidden_dim", "num_K", "nodeformer_heads"):
            assert getattr(inferred, key) == config[key], key
        if config["backbone"] != "MMGCN":
            assert inferred.num_L == config["num_L"]


PLAIN = "'linear_l.bias' is not a plain tensor of numbers in the file"


def _without(key):
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s | {"brand.new": torch.ones(1)}, "has unknown entries: brand.new"),
        (lambda s: s | {"smax_fc.weight": torch.ones(6, 47)}, "smax_fc.weight [6, 47] for [6, 48]"),
        (_without("hypergraph.fc1.bias"), "lacks the entries of: backbone.fc1.bias"),
        (_without("linear_a.weight"), "has no linear_a.weight"),
        (lambda s: s | {"smax_fc.bias": torch.ones(7)}, "predicts 7 classes, but IEMOCAP has 6"),
        (lambda s: s | {"linear_l.bias": torch.full((16,), torch.nan)}, "'linear_l.bias' is NaN or infinite"),
        (lambda s: s | {"linear_l.bias": torch.zeros(1).expand(10**12)}, PLAIN),
        (lambda s: s | {"linear_l.bias": torch.zeros(10**12, device="meta")}, PLAIN),
        (lambda s: s | {"linear_l.bias": torch.eye(3).to_sparse()}, PLAIN),
        (lambda s: s | {"linear_l.bias": torch.zeros(0)}, PLAIN),
        (lambda s: s | {"linear_l.bias": torch.zeros(16).to(torch.float8_e4m3fn)}, PLAIN),
        (lambda s: s | {"linear_l.bias": torch.zeros(16, dtype=torch.complex64)}, PLAIN),
        (lambda s: s | {"linear_l.weight": torch.tensor(1.0)}, "has another shape of linear_l.weight"),
        (lambda s: s | {"smax_fc.bias": torch.tensor(1.0)}, "has another shape of smax_fc.bias"),
        (lambda s: s | {"note": "hello"}, "'note' is a str, not a tensor"),
        (lambda s: [s], "holds a list, not a state dict"),
        (lambda s: torch.nn.Linear(2, 2), "holds more than tensors"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_a_sentence(tmp_path, capsys, change, says):
    state, config, _ = _official_state("m3net_iemocap")
    path = tmp_path / "x.pkl"
    torch.save(change(state), path)
    assert main(["import-checkpoint", str(path), "--device", "cpu", *_flags(config)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: ")
    assert says in shown
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_compressed_checkpoint_is_a_sentence(tmp_path, capsys):
    """PyTorch would read it: 200 kB that hold 200 MB."""
    path = tmp_path / "x.pkl"
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pkl")
    with (
        zipfile.ZipFile(tmp_path / "plain.pkl") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert f"{path}: is compressed, as torch.save never does" in refusal(
        main, ["import-checkpoint", str(path), "--device", "cpu"], capsys
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--Dataset=FRIENDS"], "--Dataset FRIENDS: is not IEMOCAP or MELD"),
        (["train", "--Dataset=MELD", "--tau=0"], "command line: tau = 0.0 is outside"),
        (["train", "--Dataset=MELD", "--use_gumbel=maybe"], "'maybe' is not True or False"),
        (["train", "--Dataset=MELD", "--taus=1"], "--taus=1"),
        (["train", "--Dataset=MELD", "--testing=True"], "are for a trained model"),
        (["test", "--Dataset=MELD"], "--model_path FILE is missing"),
        (["test", "--Dataset=MELD", "--model_path=none.pkl"], "none.pkl: cannot be read"),
        (["train", "--Dataset=IEMOCAP"], "put IEMOCAP_features.pkl and iemocap_features_roberta.pkl there"),
        (["import-checkpoint", "none.pkl"], "none.pkl: cannot be read"),
        (["import-checkpoint", "none"], "say where to write with --out"),
        (["train", "--preset", "best", "--out", "x"], "'best' is not a preset"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "DATA_DIR", source.DATA_DIR if "--preset" in arguments else tmp_path)
    assert says in refusal(main, arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_drawn_seed_and_unused_flags_are_noted():
    run = _parsed("--random_seed=True --use_wandb=t")
    assert any(f"the seed is {run.config.seed}" in note for note in run.notes)
    assert any("wandb" in note for note in run.notes)
    assert from_mapping(run.config.to_dict(), "x") == run.config
