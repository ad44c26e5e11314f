"""The official command line (``train.py``, ``test.py`` of github.com/FarisXiong/RIGSL) <-> `RIGSLConfig`.

Most flags have the name and the meaning of a hyperparameter. The exceptions are in `UNREAD` and `_OTHER`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rigsl.config import FIELDS, RIGSLConfig, from_mapping
from rigsl.errors import UserError
from rigsl.modalities import MODALITIES
from rigsl.official.names import FOCAL_GAMMA, OFFICIAL_BACKBONES, official_dataset

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
#: Flag -> official default.
FLAGS: dict[str, Any] = {
    "Dataset": "IEMOCAP",
    "av_using_lstm": False,
    "backbone": "GCN",
    "base_model": "LSTM",
    "batch_size": 32,
    "class_weight": True,
    "denoise_dropout": 0.4,
    "dropout": 0.5,
    "epochs": 60,
    "gamma": -0.95,
    "gumbel_k": 30,
    "hidden_dim": 512,
    "l2": 3e-05,
    "link_loss_coff": 0.05,
    "link_loss_epoch": 10,
    "lr": 0.0001,
    "modals": "avl",
    "nb_features_dim": 256,
    "nodeformer_dropout": 0.4,
    "nodeformer_heads": 4,
    "norm": "LN2",
    "num_K": 4,
    "num_L": 4,
    "penalty_weight_coff": 0.0001,
    "random_seed": False,
    "seed": 0,
    "tau": 0.25,
    "temperature": 2.0,
    "testing": False,
    "use_gumbel": True,
    "use_jk_nodeformer": False,
    "use_residue": False,
    "use_residue_denoise": False,
    "use_residue_nodeformer": False,
    "use_speaker": True,
    "use_wandb": False,
    "windowf": 10,
    "windowp": 10,
    "zeta": 1.05,
}
#: Flag that the official code ignores -> what the code always does, as a value of `RIGSLConfig`.
UNREAD = {
    "base_model": "GRU",
    "class_weight": "inverse",
    "use_speaker": True,
    "windowf": -1,
    "windowp": -1,
}
#: Flags that are not hyperparameters.
_OTHER = ("Dataset", "random_seed", "testing", "use_wandb")
#: Flags that only the official command line has; they identify it.
OFFICIAL_ONLY = ("Dataset", "model_path", "random_seed", "testing", "use_wandb")
_NEUTRAL = ("deterministic", "patience", "official_quirks")  # hyperparameters that do not change the model


@dataclass(frozen=True)
class OfficialRun:
    """The dataset and configuration of an official command line; notes: lines for the user."""

    dataset: str
    config: RIGSLConfig
    notes: tuple[str, ...]


def official_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the official flags to a parser; its result has only those that were given."""
    group = parser.add_argument_group("official flags")
    for name, default in FLAGS.items():
        kind: Any = boolean if isinstance(default, bool) else type(default)
        metavar = type(default).__name__.upper()
        group.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, metavar=metavar)


def is_official(arguments: list[str]) -> bool:
    """Whether a command line has a flag that only the official one has."""
    return any(text.split("=")[0] in [f"--{name}" for name in OFFICIAL_ONLY] for text in arguments)


def from_official_flags(given: Mapping[str, Any], base: Mapping[str, Any] = FLAGS) -> OfficialRun:
    """The configuration of given flags (name -> value), with the values of `base` for all others.

    As in the official code, and whatever the flags say, windows cover all utterances, class weights are
    1/frequency, the networks are GRUs, and speakers are used. The dataset decides on the focal loss.

    Raises:
        UserError: an unknown dataset, a modality that has no letter, or a value that `RIGSLConfig` refuses.
    """
    flags = {**base, **{name: value for name, value in given.items() if name in FLAGS}}
    dataset = official_dataset(str(flags["Dataset"]))
    if dataset is None:
        raise UserError(f"--Dataset {flags['Dataset']}: is not {' or '.join(FOCAL_GAMMA)}")
    notes = _notes({name for name in given if name in FLAGS}, flags)
    if flags["random_seed"]:
        flags["seed"] = random.SystemRandom().randint(0, 100_000)
        notes.append(f"note: --random_seed: the seed is {flags['seed']}")
    values = {name: value for name, value in flags.items() if name not in _OTHER}
    values |= UNREAD | {"focal_gamma": FOCAL_GAMMA[dataset]}
    config = from_mapping(values, "command line")
    if named := _named(config.modalities):
        raise UserError(f"--modals {flags['modals']}: the official code has no modality '{named[0]}'")
    return OfficialRun(dataset, config, tuple(notes))


def _notes(given: set[str], flags: Mapping[str, Any]) -> list[str]:
    notes = []
    unread = [f"--{name}" for name in UNREAD if name in given]
    if unread:
        notes.append(
            f"note: the official code never reads {', '.join(unread)}: it always uses GRUs, speakers, class "
            "weights and all utterances, and so does this command"
        )
    if flags["use_wandb"]:
        notes.append("note: --use_wandb: this project does not log to wandb; run_search.py logs to MLflow")
    return notes


def to_official_flags(config: RIGSLConfig, dataset: str) -> str:
    """The flags of the official ``train.py`` for a configuration, written like the published commands.

    What the official code cannot do is left out; `without_official_form` lists it.

    Raises:
        UserError: the official code does not have the dataset, or a modality that has no letter.
    """
    name_there = official_dataset(dataset)
    if name_there is None:
        raise UserError(f"the official code has no dataset '{dataset}'; it has {' and '.join(FOCAL_GAMMA)}")
    if named := _named(config.modalities):
        raise UserError(f"the official code has no modality '{named[0]}'; it has a, v and l")
    ours = config.to_dict()
    values = {name: ours.get(name, default) for name, default in FLAGS.items() if name != "random_seed"}
    values |= {name: FLAGS[name] for name in UNREAD} | {"Dataset": name_there}
    values["base_model"] = "GRU"
    values["modals"] = "".join(letter for letter in "avl" if letter in config.modalities)
    return " ".join(f"--{name}={_text(value)}" for name, value in values.items())


def without_official_form(config: RIGSLConfig, dataset: str) -> tuple[str, ...]:
    """What the official code does not do as the configuration says; empty: it has the same model.

    Raises:
        UserError: the official code does not have the dataset, the backbone, or a modality without a letter.
    """
    name_there, backbone = official_dataset(dataset), OFFICIAL_BACKBONES[config.backbone]
    if name_there is None or backbone is None or _named(config.modalities):
        raise UserError(f"the official code has no {_missing(config, dataset)}; it has no form of this model")
    differences = []
    for name, value in config.to_dict().items():
        if name in _NEUTRAL or name in FLAGS.keys() - UNREAD.keys():
            continue
        official = UNREAD.get(name, FIELDS[name].default)
        if name == "focal_gamma":
            official = FOCAL_GAMMA[name_there]
        if value != official:
            differences.append(f"{name} = {_text(value)} (always {_text(official)} in the official code)")
    if set(config.modalities) != set("avl"):
        differences.append(f"modals = {config.modals} (the official code needs a, v and l)")
    if config.use_jk_nodeformer:
        differences.append("use_jk_nodeformer = True (the official code stops with an error)")
    if name_there not in backbone.datasets:
        only = " and ".join(backbone.datasets)
        differences.append(f"backbone = {config.backbone} (the official code has it for {only} only)")
    if backbone.unread and not config.official_quirks:
        values = ", ".join(f"{name} = {_text(getattr(config, name))}" for name in backbone.unread)
        differences.append(f"{values} (the official {config.backbone} never reads them)")
    return tuple(differences)


def official_command(config: RIGSLConfig, dataset: str) -> str:
    """The official training command of a configuration, after a comment line for each difference.

    If the official code does not have the dataset, the backbone or a modality, a comment line says so, and
    there is no command. The dataset's name may be in any case.
    """
    if missing := _missing(config, dataset):
        return f"# the official code has no {missing}"
    notes = [f"# not in the official code: {note}" for note in without_official_form(config, dataset)]
    return "\n".join([*notes, f"python train.py {to_official_flags(config, dataset)}"])


def _missing(config: RIGSLConfig, dataset: str) -> str:
    """The dataset, the modality or the backbone if the official code does not have it, else nothing."""
    if official_dataset(dataset) is None:
        return f"dataset '{dataset}'"
    if named := _named(config.modalities):
        return f"modality '{named[0]}'"
    return f"backbone '{config.backbone}'" if OFFICIAL_BACKBONES[config.backbone] is None else ""


def _named(modalities: Sequence[str]) -> list[str]:
    """The modalities that no letter stands for, which the official flag --modals cannot say."""
    return [key for key in modalities if key not in MODALITIES]


def _text(value: Any) -> str:
    """A value as the published commands write it: 1 for 1.0, 3e-05, True."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def boolean(text: str) -> bool:
    """True or False, in the forms of the official command line."""
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"'{text}' is not True or False")
