"""The published configurations by name (README of github.com/FarisXiong/RIGSL)."""

from __future__ import annotations

from rigsl.errors import UserError
from rigsl.official.flags import FLAGS, OfficialRun, from_official_flags

_COMMON = {
    "backbone": "M3Net",
    "base_model": "GRU",
    "link_loss_coff": 0.1,
    "norm": "None",
    "penalty_weight_coff": 0.0005,
    "use_residue_denoise": True,
    "use_residue_nodeformer": True,
}
#: Preset -> its official flags, without those that have their default value.
PUBLISHED = {
    "official/iemocap": _COMMON
    | {
        "Dataset": "IEMOCAP",
        "batch_size": 8,
        "denoise_dropout": 0.4,
        "dropout": 0.3,
        "epochs": 80,
        "gumbel_k": 64,
        "link_loss_epoch": 15,
        "nb_features_dim": 32,
        "nodeformer_dropout": 0.4,
        "nodeformer_heads": 6,
        "num_K": 2,
        "num_L": 4,
        "seed": 1475,
        "tau": 0.2,
        "temperature": 1.5,
        "use_residue": False,
    },
    "official/meld": _COMMON
    | {
        "Dataset": "MELD",
        "batch_size": 16,
        "denoise_dropout": 0.0,
        "dropout": 0.4,
        "epochs": 40,
        "gumbel_k": 4,
        "link_loss_epoch": 10,
        "nb_features_dim": 64,
        "nodeformer_dropout": 0.3,
        "nodeformer_heads": 8,
        "num_K": 3,
        "num_L": 2,
        "seed": 44751,
        "tau": 0.4,
        "temperature": 1.0,
        "use_residue": True,
    },
}


def preset(name: str, given: dict[str, object] | None = None) -> OfficialRun:
    """The dataset and configuration of a preset; `given` replaces some of its official flags.

    Raises:
        UserError: there is no such preset, or a given value is invalid.
    """
    if name not in PUBLISHED:
        raise UserError(f"'{name}' is not a preset; the presets are {', '.join(PUBLISHED)}")
    return from_official_flags(given or {}, FLAGS | PUBLISHED[name])
