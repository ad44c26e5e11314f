"""An official state dict -> a model that computes what the official evaluation computes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.data.official.files import LAYOUTS, VIEWS
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.official.names import FOCAL_GAMMA, OFFICIAL_BACKBONES, parameter_name, renamed_state
from rigsl.registry import require_same_names
from rigsl.wording import counted

require_same_names(
    "dataset of the official code",
    {"rigsl.official.names.FOCAL_GAMMA": FOCAL_GAMMA, "rigsl.data.official.files.LAYOUTS": LAYOUTS},
)
#: Entries that the official code creates and never uses.
_UNUSED = re.compile(
    r"(.*\.)?transform_after\..*"
    r"|nodeformer\.convs\.\d+\.b"
    r"|hypergraph\.(hyperedge_attr[12]|modal_embeddings\.weight)"
    r"|hypergraph\.hyperconv\d+\.(weight|edgeweight|edgefc\.(weight|bias))"
    r"|conv\.([avl]_spk_embs|modal_embeddings|feature_fc|final_fc)\..*"
    r"|conv\.graph_net\.convs\.\d+\.(transform_before|attention_\w+)\..*"
)
_DTYPES = frozenset(
    (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)
)
#: Entries from whose shapes flags and widths are inferred -> the number of their dimensions.
_DIMENSIONS = {
    "linear_l.weight": 2,
    "linear_a.weight": 2,
    "linear_v.weight": 2,
    "smax_fc.bias": 1,
    "nodeformer.convs.0.Wq.weight": 2,
}
#: The value at which the seed of the random projection saturates: int32(|sum of the queries| * 1e8).
SEED = 2**31 - 1


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pkl or .pth file, on the CPU; only tensors are loaded, nothing in it runs.

    Raises:
        UserError: the file cannot be read, or does not hold a state dict.
    """
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > size:
                    raise UserError(f"{path}: is compressed, as torch.save never does; save it again")
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # a damaged file can fail in any way
        raise UserError(
            f"{path}: is not a state dict saved by torch.save, is truncated, or holds more than tensors"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds a {type(content).__name__}, not a state dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: its entry {name!r:.100} is a {type(value).__name__}, not a tensor")
        if not _is_plain(Tensor.detach(value), size):
            raise UserError(f"{path}: its entry {name!r:.100} is not a plain tensor of numbers in the file")
        if not bool(torch.isfinite(Tensor.detach(value)).all()):
            raise UserError(f"{path}: its entry {name!r:.100} is NaN or infinite")
    return {name.removeprefix("module."): Tensor.detach(value) for name, value in content.items()}


def _is_plain(value: Tensor, size: int) -> bool:
    """Whether a tensor holds numbers as they are in a file of `size` bytes.

    Others are sparse, nested or quantised, have no numbers, or repeat a few: an expanded one has any size.
    """
    dense = value.layout is torch.strided and value.device.type == "cpu"
    dense = dense and not (value.is_nested or value.is_quantized)
    return dense and value.dtype in _DTYPES and 0 < value.nbytes <= size


def inferred_flags(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The official flags that can be inferred from the shapes of a state dict.

    Raises:
        UserError: it is not a state dict of an official RIGSL.
    """
    shape = {name: tuple(value.shape) for name, value in state.items()}
    _require(state, ("linear_l.weight", "smax_fc.bias", "nodeformer.convs.0.Wq.weight"), path)
    width = shape["linear_l.weight"][0]
    backbone = _backbone(shape, path)
    flags: dict[str, Any] = {
        "Dataset": _dataset(state["smax_fc.bias"].numel(), path),
        "backbone": backbone,
        "hidden_dim": width,
        "num_K": _count(shape, r"nodeformer\.convs\.(\d+)\."),
        "nodeformer_heads": max(1, shape["nodeformer.convs.0.Wq.weight"][0] // width),
        "av_using_lstm": "gru_a.weight_ih_l0" in shape,
    }
    if backbone != "MMGCN":
        flags["num_L"] = _count(shape, r"(?:hypergraph\.)?conv(\d+)\.lin\.")
    if backbone == "MMGCN":
        flags["use_residue"] = True  # without it the official MMGCN stops with an error
    for norm in ("LN", "BN"):
        if f"norm{norm}a.weight" in shape:
            flags["norm"] = norm
    return flags


def _require(state: Mapping[str, Tensor], names: Sequence[str], path: Path) -> None:
    """Check that a state dict has these entries, with as many dimensions as in the official RIGSL."""
    for name in names:
        if name not in state or state[name].ndim != _DIMENSIONS[name]:
            problem = "has no" if name not in state else "has another shape of"
            raise UserError(f"{path}: {problem} {name}; it is not a checkpoint of the official RIGSL")


def _backbone(names: Mapping[str, Any], path: Path) -> str:
    """The backbone whose parameters are in a state dict."""
    for name, backbone in OFFICIAL_BACKBONES.items():
        if backbone is not None and backbone.parameter in names:
            return name
    raise UserError(f"{path}: has no parameters of a backbone; it is not a checkpoint of the official RIGSL")


def _dataset(classes: int, path: Path) -> str:
    """The dataset with this number of classes."""
    for name, layout in LAYOUTS.items():
        if len(layout.classes) == classes:
            return name
    outputs = counted(classes, "class", "classes")
    raise UserError(f"{path}: predicts {outputs}, as no dataset of the official code has")


def _count(names: Mapping[str, Any], pattern: str) -> int:
    """How many different numbers the names have where the pattern has its group."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def official_projection(features: int, width: int, device: str = "cpu") -> Tensor:
    """The random projection [features, width] that the official code draws in every forward pass.

    It is not in the state dict. Its seed saturates, so it is always the same one (docs/model.md, section 6,
    row 3), except for a dialogue whose queries sum to less than 22. Its rows are those of Q of QR
    decompositions of [width, width] Gaussians, block after block, times the norms of Gaussian rows; the seed
    increases with every draw and wraps around. `device` says whose generator draws: a GPU's gives other
    numbers than the CPU's (and above some size, GPUs differ by type). The official code runs on GPUs only.
    """
    kinds = [torch.device(device)] if torch.device(device).type == "cuda" else []
    whole, blocks = features // width, []
    with torch.random.fork_rng(devices=kinds):
        for index in range(-(-features // width)):
            torch.manual_seed(_wrapped(SEED + index))
            q, _ = torch.linalg.qr(torch.randn(width, width, device=device))
            blocks.append(q.T[: features - index * width])
        torch.manual_seed(_wrapped(SEED + whole + 1))
        norms = torch.randn(features, width, device=device).norm(dim=1)
    return (torch.diag(norms) @ torch.cat(blocks)).cpu()


def _wrapped(seed: int) -> int:
    """The seed as a signed 32-bit integer, as in the official code."""
    return (seed + 2**31) % 2**32 - 2**31


def official_model(
    path: Path, state: Mapping[str, Tensor], config: RIGSLConfig, dataset: str, device: str = "cpu"
) -> RIGSL:
    """The model of a state dict, with `official_quirks`, in evaluation mode on the CPU.

    Args:
        device: whose generator draws the projection, see `official_projection`.

    Raises:
        UserError: entries are unknown, missing or of the wrong shape; the sentence names them.
    """
    config = config.replace(official_quirks=True)
    model = RIGSL(config, _schema(path, state, dataset))
    expected = model.state_dict()
    projection = official_projection(config.nb_features_dim, config.hidden_dim, device)
    used = {name: value for name, value in state.items() if not _unused(name, config)}
    unknown = [name for name in used if parameter_name(name) not in expected]
    renamed = renamed_state(used) | {"nodeformer.projection": projection}
    missing = [name for name in expected if name not in renamed]
    misshapen = [
        f"{name} {list(value.shape)} for {list(expected[ours].shape)}"
        for name, value in used.items()
        if (ours := parameter_name(name)) in expected and value.shape != expected[ours].shape
    ]
    for problem, names in {
        "has unknown entries": unknown,
        "has entries whose shapes do not match the flags": misshapen,
        "lacks the entries of": missing,
    }.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{path}: {problem}: {', '.join(names[:3])}{more}")
    model.load_state_dict(renamed)
    return model.eval()


def _unused(name: str, config: RIGSLConfig) -> bool:
    if name.startswith("gate_fusion_origin.") and not config.use_residue:
        return True
    return _UNUSED.fullmatch(name) is not None


def _schema(path: Path, state: Mapping[str, Tensor], dataset: str) -> Schema:
    """The schema of the corpus that the weights were trained on."""
    _require(state, ("linear_l.weight", "linear_a.weight", "linear_v.weight", "smax_fc.bias"), path)
    layout = LAYOUTS[dataset]
    if (classes := len(state["smax_fc.bias"])) != len(layout.classes):
        outputs = counted(classes, "class", "classes")
        raise UserError(f"{path}: predicts {outputs}, but {dataset} has {len(layout.classes)}")
    tables = [
        value for name, value in state.items() if name.endswith(".speaker_embeddings.weight") and value.ndim
    ]
    return Schema(
        widths={letter: state[f"linear_{letter}.weight"].shape[1] for letter in "lav"},
        text_views=len(VIEWS),
        text_default=layout.text_default,
        n_speakers=len(tables[0]) if tables else layout.n_speakers,
        classes=layout.classes,
    )
