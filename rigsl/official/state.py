"""An official state dict becomes a model that computes what the official evaluation computes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.data.official.files import LAYOUTS, VIEWS
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.official.names import parameter_name, renamed_state

#: Entries that the official code makes and never uses.
_UNUSED = re.compile(
    r"(.*\.)?transform_after\..*"
    r"|nodeformer\.convs\.\d+\.b"
    r"|hypergraph\.(hyperedge_attr[12]|modal_embeddings\.weight)"
    r"|hypergraph\.hyperconv\d+\.(weight|edgeweight|edgefc\.(weight|bias))"
    r"|conv\.([avl]_spk_embs|modal_embeddings|feature_fc|final_fc)\..*"
    r"|conv\.graph_net\.convs\.\d+\.(transform_before|attention_\w+)\..*"
)
#: What the seed of the random projection saturates to: int32(|sum of the queries| * 1e8).
SEED = 2**31 - 1


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pkl or .pth file, on the CPU; only tensors are loaded, nothing in the file runs.

    Raises:
        UserError: the file cannot be read, or holds no state dict.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # a damaged file can fail in any way
        raise UserError(
            f"{path}: is no state dict saved by torch.save, is cut short, or holds more than tensors"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds a {type(content).__name__} and not a state dict")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: its entry {name!r} is a {type(value).__name__} and not a tensor")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise UserError(f"{path}: its entry {name} is NaN or infinite")
    return {name.removeprefix("module."): value for name, value in content.items()}


def inferred_flags(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The official flags that the shapes of a state dict tell.

    Raises:
        UserError: it is no state dict of an official RIGSL.
    """
    shape = {name: tuple(value.shape) for name, value in state.items()}
    for name in ("linear_l.weight", "smax_fc.bias", "nodeformer.convs.0.Wq.weight"):
        if name not in shape:
            raise UserError(f"{path}: has no {name}; it is no checkpoint of the official RIGSL")
    width = shape["linear_l.weight"][0]
    marks = {"hypergraph.fc1.weight": "M3Net", "conv.l_fc.weight": "MMGCN", "conv0.att.weight": "GAT"}
    backbone = next((kind for mark, kind in marks.items() if mark in shape), "GCN")
    flags: dict[str, Any] = {
        "Dataset": "MELD" if shape["smax_fc.bias"] == (len(LAYOUTS["MELD"].classes),) else "IEMOCAP",
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


def _count(names: Mapping[str, Any], pattern: str) -> int:
    return len({found[1] for name in names if (found := re.match(pattern, name))})


def official_projection(features: int, width: int, device: str = "cpu") -> Tensor:
    """The random projection [features, width] that the official code draws in every forward.

    It is not in a state dict: its seed saturates, so it is always the same (design table, row 3; but for
    a dialogue whose queries add up to less than 22). Rows of Q of a QR of [width, width] Gaussians, in
    blocks, times the norms of Gaussian rows; the seed counts the draws and wraps. A GPU's generator
    gives other numbers than the CPU's (and one type of GPU others than another, above some size):
    `device` says which. The official code runs on a GPU only.
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
    """The seed in 32 bits with a sign, in which the official code counts."""
    return (seed + 2**31) % 2**32 - 2**31


def official_model(
    path: Path, state: Mapping[str, Tensor], config: RIGSLConfig, dataset: str, device: str = "cpu"
) -> RIGSL:
    """The model of a state dict, with `official_quirks`, in evaluation mode on the CPU.

    Args:
        device: whose generator draws the projection, see `official_projection`.

    Raises:
        UserError: entries are unknown, missing or of another shape; the sentence names them.
    """
    config = config.replace(official_quirks=True)
    model = RIGSL(config, _schema(path, state, dataset))
    wanted = model.state_dict()
    projection = official_projection(config.nb_features_dim, config.hidden_dim, device)
    used = {name: value for name, value in state.items() if not _unused(name, config)}
    unknown = [name for name in used if parameter_name(name) not in wanted]
    found = renamed_state(used) | {"nodeformer.projection": projection}
    missing = [name for name in wanted if name not in found]
    misshapen = [
        f"{name} {list(value.shape)} for {list(wanted[ours].shape)}"
        for name, value in used.items()
        if (ours := parameter_name(name)) in wanted and value.shape != wanted[ours].shape
    ]
    for problem, names in {
        "has entries that are not known": unknown,
        "has entries of another shape than the flags say": misshapen,
        "lacks the entries of": missing,
    }.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{path}: {problem}: {', '.join(names[:3])}{more}")
    model.load_state_dict(found)
    return model.eval()


def _unused(name: str, config: RIGSLConfig) -> bool:
    if name.startswith("gate_fusion_origin.") and not config.use_residue:
        return True
    return _UNUSED.fullmatch(name) is not None


def _schema(path: Path, state: Mapping[str, Tensor], dataset: str) -> Schema:
    """What the weights say of the data they were trained on."""
    for name in ("linear_l.weight", "linear_a.weight", "linear_v.weight", "smax_fc.bias"):
        if name not in state:
            raise UserError(f"{path}: has no {name}; it is no checkpoint of the official RIGSL")
    layout = LAYOUTS[dataset]
    if (classes := len(state["smax_fc.bias"])) != len(layout.classes):
        raise UserError(f"{path}: tells {classes} classes apart, but {dataset} has {len(layout.classes)}")
    tables = [value for name, value in state.items() if name.endswith(".speaker_embeddings.weight")]
    return Schema(
        widths={letter: state[f"linear_{letter}.weight"].shape[1] for letter in "lav"},
        text_views=len(VIEWS),
        text_default=layout.text_default,
        n_speakers=len(tables[0]) if tables else layout.n_speakers,
        classes=layout.classes,
    )
