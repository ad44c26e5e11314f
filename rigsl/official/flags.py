"""The official command line (github.com/FarisXiong/RIGSL, ``train.py`` and ``test.py``) and `RIGSLConfig`.

Most flags have the name of a hyperparameter and its meaning. The exceptions are in `UNREAD` and `LOGGING`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rigsl.config import FIELDS, RIGSLConfig, from_mapping
from rigsl.errors import UserError
from rigsl.official.names import FOCAL_GAMMA

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
#: Flag that the official code never reads -> what it does whatever the flag says, as values here.
UNREAD = {
    "base_model": "GRU",
    "class_weight": "inverse",
    "use_speaker": True,
    "windowf": -1,
    "windowp": -1,
}
#: Flags that the official M3Net is never told.
UNREAD_BY_M3NET = ("denoise_dropout", "gamma", "temperature", "use_residue_denoise", "zeta")
#: Flags that are no hyperparameters.
_OTHER = ("Dataset", "random_seed", "testing", "use_wandb")
#: Flags that only the official command line has: one of them marks it.
MARKS = ("Dataset", "model_path", "random_seed", "testing", "use_wandb")
_NEUTRAL = ("deterministic", "patience", "official_quirks")  # hyperparameters that do not make another model


@dataclass(frozen=True)
class OfficialRun:
    """An official command line as this project understands it; notes: one sentence a line, to be printed."""

    dataset: str
    config: RIGSLConfig
    notes: tuple[str, ...]


def official_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a parser take the official flags; only those that were given are in its result."""
    group = parser.add_argument_group("official flags")
    for name, default in FLAGS.items():
        kind: Any = boolean if isinstance(default, bool) else type(default)
        metavar = type(default).__name__.upper()
        group.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, metavar=metavar)


def is_official(arguments: list[str]) -> bool:
    """Whether a command line has a flag that only the official one has."""
    return any(text.split("=")[0] in [f"--{name}" for name in MARKS] for text in arguments)


def from_official_flags(given: Mapping[str, Any], base: Mapping[str, Any] = FLAGS) -> OfficialRun:
    """Flags that were given (name -> value) over those of `base`.

    Windows are all utterances, class weights 1/frequency, the networks GRUs, speakers known: so it is in
    the official code whatever the flags say. The focal loss belongs to the dataset.

    Raises:
        UserError: an unknown dataset, or a value that `RIGSLConfig` refuses.
    """
    flags = {**base, **{name: value for name, value in given.items() if name in FLAGS}}
    dataset = str(flags["Dataset"])
    if dataset not in FOCAL_GAMMA:
        raise UserError(f"--Dataset {dataset}: is not {' or '.join(FOCAL_GAMMA)}")
    notes = _notes({name for name in given if name in FLAGS}, flags)
    if flags["random_seed"]:
        flags["seed"] = random.SystemRandom().randint(0, 100_000)
        notes.append(f"note: --random_seed: the seed is {flags['seed']}")
    values = {name: value for name, value in flags.items() if name not in _OTHER}
    values |= UNREAD | {"focal_gamma": FOCAL_GAMMA[dataset]}
    return OfficialRun(dataset, from_mapping(values, "command line"), tuple(notes))


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
    """The flags of the official ``train.py`` for a configuration, as the published commands write them.

    What has no official form is left out; `without_official_form` lists it.
    """
    ours = config.to_dict()
    values = {name: ours.get(name, default) for name, default in FLAGS.items() if name != "random_seed"}
    values |= {name: FLAGS[name] for name in UNREAD} | {"Dataset": dataset}
    values["base_model"] = "GRU"
    values["modals"] = "".join(letter for letter in "avl" if letter in config.modals)
    return " ".join(f"--{name}={_text(value)}" for name, value in values.items())


def without_official_form(config: RIGSLConfig, dataset: str) -> tuple[str, ...]:
    """What the official code does not do as the configuration says; empty: it is the same model."""
    found = []
    for name, value in config.to_dict().items():
        if name in _NEUTRAL or name in FLAGS.keys() - UNREAD.keys():
            continue
        official = FOCAL_GAMMA[dataset] if name == "focal_gamma" else UNREAD.get(name, FIELDS[name].default)
        if value != official:
            found.append(f"{name} = {_text(value)} (always {_text(official)} in the official code)")
    if set(config.modals) != set("avl"):
        found.append(f"modals = {config.modals} (the official code needs a, v and l)")
    if config.use_jk_nodeformer:
        found.append("use_jk_nodeformer = True (the official code stops with an error)")
    if config.backbone == "MMGCN" and dataset == "MELD":
        found.append("backbone = MMGCN (the official code has it for IEMOCAP only)")
    if config.backbone == "M3Net" and not config.official_quirks:
        values = ", ".join(f"{name} = {_text(getattr(config, name))}" for name in UNREAD_BY_M3NET)
        found.append(f"{values} (the official M3Net never reads them)")
    return tuple(found)


def official_command(config: RIGSLConfig, dataset: str) -> str:
    """The official training command of a configuration, after a comment line for each difference."""
    notes = [f"# not in the official code: {note}" for note in without_official_form(config, dataset)]
    return "\n".join([*notes, f"python train.py {to_official_flags(config, dataset)}"])


def _text(value: Any) -> str:
    """As the published commands write a value: 1 for 1.0, 3e-05, True."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def boolean(text: str) -> bool:
    """True or False, as the official command line writes them."""
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"'{text}' is not True or False")
