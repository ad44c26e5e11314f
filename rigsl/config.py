"""Every hyperparameter of RIGSL in one frozen, validated dataclass.

The names are those of the official command line (github.com/FarisXiong/RIGSL, ``train.py``).
Search spaces, command-line options and checkpoints are all checked against this file: each
hyperparameter is defined once, here, with its bounds and a one-line explanation. docs/model.md
has the formulas in which they occur.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rigsl.errors import UserError, first_line
from rigsl.modalities import modals_text, read_modals

#: Choices that stand here without torch. What implements them is registered under the same names in
#: `rigsl.model`, `rigsl.memory` and `rigsl.official.names`, which check at import that no name is missing.
BACKBONES = ("GCN", "GAT", "M3Net", "MMGCN")
SPARSIFIERS = ("hard_concrete", "sparsemax")
_LARGEST = 2**31 - 1  #: of whole numbers, which tensors and records must be able to hold


def _hp(default: Any, help: str, **bounds: Any) -> Any:
    """A hyperparameter: default, help line and bounds (``low``, ``high``, ``above``, ``choices``)."""
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True, slots=True, kw_only=True)
class RIGSLConfig:
    """One complete RIGSL configuration.

    Raises:
        UserError: a value of the wrong type or outside its bounds; the sentence names the field.
    """

    # encoder
    modals: str = _hp(
        "avl",
        "modalities to use: letters out of l (text), a (audio), v (visual) and d (delivery), or names of "
        "modalities between commas",
    )
    hidden_dim: int = _hp(512, "width d of every node", low=2, high=4096)
    norm: str = _hp("None", "normalisation of the text vectors", choices=("None", "mean", "LN", "BN", "LN2"))
    base_model: str = _hp("GRU", "recurrent network of the encoder", choices=("GRU", "LSTM"))
    av_using_lstm: bool = _hp(False, "context network for the other modalities as well as for text")
    use_speaker: bool = _hp(True, "speaker network, and speaker embedding on the text nodes")
    dropout: float = _hp(
        0.5, "dropout in the recurrent networks and before the classifier", low=0.0, high=0.95
    )
    use_residue: bool = _hp(False, "add the encoder's own features to the fusion")
    # CGS
    use_cgs: bool = _hp(True, "context-aware graph sparsification; False: ablation without it")
    sparsifier: str = _hp(
        "hard_concrete",
        "how edges are removed: hard-concrete gates, or sparsemax over a node's incoming edges",
        choices=SPARSIFIERS,
    )
    backbone: str = _hp("M3Net", "graph network on the sparsified graph", choices=BACKBONES)
    num_L: int = _hp(4, "number of CGS layers", low=1, high=64)
    denoise_dropout: float = _hp(0.4, "dropout before every CGS layer", low=0.0, high=0.95)
    use_residue_denoise: bool = _hp(True, "add a CGS layer's input to its output")
    temperature: float = _hp(2.0, "temperature of the hard-concrete gate", low=0.05, high=20.0)
    anneal_to: float = _hp(
        1.0,
        "final temperature as a fraction of `temperature`, after anneal_epoch epochs; 1: no annealing",
        low=0.01,
        high=1.0,
    )
    anneal_epoch: int = _hp(10, "epochs over which the gate's temperature is annealed, geometrically", low=1)
    gamma: float = _hp(
        -0.95, "lower end of the interval to which the hard-concrete gate is stretched", low=-10.0, high=-1e-3
    )
    zeta: float = _hp(
        1.05,
        "upper end of the interval to which the hard-concrete gate is stretched",
        low=1.0 + 1e-6,
        high=10.0,
    )
    windowp: int = _hp(-1, "number of past utterances that an utterance is connected with; -1: all", low=-1)
    windowf: int = _hp(-1, "number of future utterances that an utterance is connected with; -1: all", low=-1)
    # IGR
    use_igr: bool = _hp(True, "implicit graph relation mining; False: ablation without it")
    num_K: int = _hp(4, "number of NodeFormer layers", low=1, high=64)
    nodeformer_heads: int = _hp(4, "attention heads of NodeFormer, each of width hidden_dim", low=1, high=64)
    nb_features_dim: int = _hp(256, "number of random features of the softmax kernel", low=1, high=8192)
    tau: float = _hp(0.25, "softmax temperature of the implicit relations", low=1e-3, high=100.0)
    use_gumbel: bool = _hp(True, "Gumbel noise on the implicit relations in training")
    gumbel_k: int = _hp(30, "Gumbel samples per node and head", low=1, high=4096)
    nodeformer_dropout: float = _hp(0.4, "dropout in NodeFormer", low=0.0, high=0.95)
    use_residue_nodeformer: bool = _hp(True, "add a NodeFormer layer's input to its output")
    use_jk_nodeformer: bool = _hp(False, "use all NodeFormer layers' outputs (jumping knowledge)")
    # loss
    class_weight: str = _hp(
        "inverse", "weight of a class: 1 / frequency^(0, 1/2, 1)", choices=("none", "sqrt", "inverse")
    )
    focal_gamma: float = _hp(0.5, "focusing exponent of the focal loss; 0: cross entropy", low=0.0, high=10.0)
    penalty_weight_coff: float = _hp(1e-4, "weight of the sparsity penalty", low=0.0, high=100.0)
    link_loss_coff: float = _hp(0.05, "weight of the link loss", low=0.0, high=100.0)
    link_loss_epoch: int = _hp(10, "epochs over which the link loss fades out", low=0)
    # optimisation
    lr: float = _hp(1e-4, "learning rate of Adam", above=0.0, high=1.0)
    l2: float = _hp(3e-5, "weight decay", low=0.0, high=1.0)
    batch_size: int = _hp(32, "dialogues in a batch", low=1)
    epochs: int = _hp(60, "maximum number of epochs", low=1)
    patience: int = _hp(0, "early stopping: epochs without a better validation score; 0: off", low=0)
    ema: float = _hp(
        0.0,
        "decay of the exponential moving average of the weights, which is validated and kept; 0: no average",
        low=0.0,
        high=0.9999,
    )
    seed: int = _hp(
        0, "random seed of the initial weights, the noise and the order of the batches", low=0, high=2**31 - 1
    )
    precision: str = _hp(
        "fp32",
        "floating-point precision of a training step; tf32: products of a GPU with 10 bits of mantissa, on "
        "the CPU the same as fp32",
        choices=("fp32", "tf32", "bf16"),
    )
    deterministic: bool = _hp(
        False,
        "bit-identical results on a GPU as well, at the cost of some speed (on the CPU they always are)",
    )
    official_quirks: bool = _hp(
        False, "reproduce how the official code treats padding, positions in the batch and M3Net's gate"
    )

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, checked(spec.name, getattr(self, spec.name)))
        if not (self.use_cgs or self.use_igr or self.use_residue):
            raise UserError("use_cgs, use_igr and use_residue are all false; at least one must be true")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The keys of the modalities in the order of the nodes: letters, and names of those without one."""
        return read_modals(self.modals)

    def replace(self, **changes: Any) -> RIGSLConfig:
        """A copy with some values changed, checked again."""
        return from_mapping(self.to_dict() | changes, "the change")

    def to_dict(self) -> dict[str, Any]:
        """Name -> value, in the order of the fields."""
        return {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}

    def content_hash(self) -> str:
        """Twelve hexadecimal digits that are equal for equal configurations (seed included)."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_toml(self) -> str:
        """The configuration as TOML, one ``name = value`` a line."""
        return tomli_w.dumps(self.to_dict())


FIELDS: dict[str, dataclasses.Field[Any]] = {spec.name: spec for spec in dataclasses.fields(RIGSLConfig)}


def checked(name: str, value: Any) -> Any:
    """`value` as the field `name` stores it (an int becomes a float where a float is wanted).

    Raises:
        UserError: `name` is not a hyperparameter, or the value has the wrong type or is out of bounds.
    """
    if name not in FIELDS:
        raise UserError(
            f"'{name}' is not a hyperparameter of RIGSL; `python -m rigsl train --help` lists them"
        )
    spec = FIELDS[name]
    kind: type = type(spec.default)
    if name == "modals":
        return _checked_modals(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = as_float(value)
    if type(value) is not kind:
        raise UserError(f"{name} = {value!r} is not {_KINDS[kind]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} = {value!r} is not a finite number")
    if "choices" in spec.metadata and value not in spec.metadata["choices"]:
        raise UserError(f"{name} = {value!r} is not one of {', '.join(map(repr, spec.metadata['choices']))}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise UserError(f"{name} = {value!r} is too large; no whole number may be above {_LARGEST}")
    if isinstance(value, int | float) and not _within(value, spec.metadata):
        raise UserError(f"{name} = {value!r} is outside {allowed(name)}")
    if name == "hidden_dim" and isinstance(value, int) and value % 2:
        raise UserError(f"hidden_dim = {value} is odd; a bidirectional network needs an even width")
    return value


def as_float(value: float) -> float:
    """A number as a float; infinity for a whole number that is larger than all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _within(value: float, bounds: Mapping[str, Any]) -> bool:
    above, low, high = (bounds.get(name) for name in ("above", "low", "high"))
    return not (
        (above is not None and value <= above)
        or (low is not None and value < low)
        or (high is not None and value > high)
    )


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def allowed(name: str) -> str:
    """The allowed values of a hyperparameter, in words: ``0 to 0.95``, ``'GRU' or 'LSTM'``."""
    bounds = FIELDS[name].metadata
    if "choices" in bounds:
        return " or ".join(map(repr, bounds["choices"]))
    low = f"above {bounds['above']:g}" if "above" in bounds else f"{bounds['low']:g}"
    return f"{low} to {bounds['high']:g}" if "high" in bounds else f"{low} or more"


def _checked_modals(value: Any) -> str:
    """The modalities, each once, in the order of the nodes; `value`: a text or a list of names."""
    names = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"modals = {value!r} is neither a text nor a list of names")
    try:
        return modals_text(read_modals(",".join(names)))
    except UserError as error:
        raise UserError(f"modals: {error}") from None


def from_mapping(values: Mapping[str, Any], where: str) -> RIGSLConfig:
    """A configuration from name -> value; fields that are not named keep their default.

    Raises:
        UserError: an unknown name or a bad value; the sentence begins with `where`.
    """
    try:
        return RIGSLConfig(**{name: checked(name, value) for name, value in values.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def from_toml(path: Path) -> RIGSLConfig:
    """The configuration in a TOML file; a checkpoint's tables ``[data]`` and ``[teacher]`` are ignored.

    Raises:
        UserError: the file is missing, is not TOML, or holds an unknown name or a bad value.
    """
    values = read_toml(path)
    for table in ("data", "teacher"):
        values.pop(table, None)
    return from_mapping(values, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; Windows' editors begin it with a byte-order mark.

    Raises:
        UserError: the file is missing or is not TOML.
    """
    return parse_toml(read_toml_text(path), path)


def read_toml_text(path: Path) -> str:
    """The text of a TOML file, without its byte-order mark.

    Raises:
        UserError: the file is missing or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path}: is not valid TOML ({first_line(error, length=200)})") from None


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The content of the text of the TOML file `path`.

    Raises:
        UserError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, or of a number with 5,000 digits
        raise UserError(f"{path}: is not valid TOML ({first_line(error, length=200)})") from None
