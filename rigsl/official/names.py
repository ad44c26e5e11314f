"""What the official implementation (github.com/FarisXiong/RIGSL) has, and its names of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rigsl.config import BACKBONES
from rigsl.registry import require_same_names

if TYPE_CHECKING:  # torch is slow to import, and the command line does not need it
    from torch import Tensor

#: Dataset -> 1 / weight of each class in the official losses (frequencies in train + dev).
CLASS_FREQUENCY = {
    "IEMOCAP": (0.086747, 0.144406, 0.227883, 0.160585, 0.127711, 0.252668),
    "MELD": (0.466750766, 0.122094071, 0.027752748, 0.071544422, 0.171742656, 0.026401153, 0.113714183),
}
#: Dataset -> exponent of the official focal loss; zero is the weighted negative log-likelihood.
FOCAL_GAMMA = {"IEMOCAP": 0.0, "MELD": 0.5}
require_same_names(
    "dataset of the official code",
    {
        "rigsl.official.names.CLASS_FREQUENCY": CLASS_FREQUENCY,
        "rigsl.official.names.FOCAL_GAMMA": FOCAL_GAMMA,
    },
)


@dataclass(frozen=True)
class OfficialBackbone:
    """A backbone of the official code.

    parameter: a name in its state dict that the backbones before it in the table do not have; datasets: where
    the official code can use it; unread: flags that it ignores.
    """

    parameter: str
    datasets: tuple[str, ...] = tuple(FOCAL_GAMMA)
    unread: tuple[str, ...] = ()


#: Backbone -> its official form; None: the official code does not have it.
OFFICIAL_BACKBONES: dict[str, OfficialBackbone | None] = {
    "M3Net": OfficialBackbone(
        "hypergraph.fc1.weight",
        unread=("denoise_dropout", "gamma", "temperature", "use_residue_denoise", "zeta"),
    ),
    "MMGCN": OfficialBackbone("conv.l_fc.weight", datasets=("IEMOCAP",)),
    "GAT": OfficialBackbone("conv0.att.weight"),
    "GCN": OfficialBackbone("conv0.lin.weight"),
}
require_same_names(
    "backbone",
    {"rigsl.config.BACKBONES": BACKBONES, "rigsl.official.names.OFFICIAL_BACKBONES": OFFICIAL_BACKBONES},
)


def official_dataset(name: str) -> str | None:
    """The official name of a dataset, from a name in any case; None if the official code does not have it."""
    return next((known for known in FOCAL_GAMMA if known.lower() == name.lower()), None)


_EDGE_GATE = (
    (r"transform_before\.", r"edge_gate.transform."),
    (r"attention_intra\.", r"edge_gate.score.0."),
    (r"attention_inter\.", r"edge_gate.score.1."),
    (r"attention_crossmodal\.", r"edge_gate.score.2."),
)
_RENAMES = (
    (r"^linear_([lav])\.", r"encoder.modality.\1.linear."),
    (r"^gru_([lav])\.", r"encoder.modality.\1.context.rnn."),
    (r"^rnn_parties_([lav])\.", r"encoder.modality.\1.speaker.rnn."),
    (r"^speaker_weights_([lav])1\.", r"encoder.modality.\1.gate_context."),
    (r"^speaker_weights_([lav])2\.", r"encoder.modality.\1.gate_speaker."),
    (r"^hypergraph\.(EW_weight)$", r"backbone.hypergraph.node_weight"),
    (r"^hypergraph\.(hyperedge_weight)$", r"backbone.hypergraph.hyperedge_weight"),
    (r"^hypergraph\.fc1\.", r"backbone.fc1."),
    (r"^hypergraph\.speaker_embeddings\.", r"backbone.speakers.embedding."),
    (r"^conv\.([lav])_fc\.", r"backbone.project.\1."),
    (r"^conv\.speaker_embeddings\.", r"backbone.speakers.embedding."),
    (r"^conv\.graph_net\.fcs\.0\.", r"backbone.input."),
    (r"^conv\.graph_net\.convs\.(\d+)\.weight$", r"backbone.layers.\1.weight"),
    (r"^nodeformer\.fcs\.0\.", r"nodeformer.input."),
    (r"^nodeformer\.bns\.", r"nodeformer.norms."),
    (r"^nodeformer\.convs\.(\d+)\.Wq\.", r"nodeformer.layers.\1.query."),
    (r"^nodeformer\.convs\.(\d+)\.Wk\.", r"nodeformer.layers.\1.key."),
    (r"^nodeformer\.convs\.(\d+)\.Wv\.", r"nodeformer.layers.\1.value."),
    (r"^nodeformer\.convs\.(\d+)\.Wo\.", r"nodeformer.layers.\1.out."),
    (r"^gate_fusion_origin\.", r"fusion.gate_encoder."),
    (r"^gate_fusion_denoise\.", r"fusion.gate_cgs."),
    (r"^gate_fusion_nodeformer\.", r"fusion.gate_igr."),
    (r"^smax_fc\.", r"classifier."),
)


def parameter_name(official: str) -> str:
    """The name in this project of a parameter of the official model."""
    for pattern, target in _RENAMES:
        if re.search(pattern, official):
            return re.sub(pattern, target, official)
    norm = re.match(r"^norm(LN|BN)([abcd])\.(.+)$", official)
    if norm:
        return f"encoder.mix.norms.{'abcd'.index(norm[2])}.{norm[3]}"
    hyper = re.match(r"^hypergraph\.hyperconv(\d+)\.bias$", official)
    if hyper:
        return f"backbone.hypergraph.bias.{int(hyper[1]) - 1}"
    layer = re.match(r"^(?:hypergraph\.conv([1-9]\d*)|conv(\d+))\.(.+)$", official)
    if layer:
        index = int(layer[1]) - 1 if layer[1] else int(layer[2])
        return f"backbone.layers.{index}.{_layer_name(layer[3])}"
    return official


def _layer_name(name: str) -> str:
    for pattern, target in _EDGE_GATE:
        if re.search(pattern, name):
            return re.sub(pattern, target, name)
    return re.sub(r"^(gate|att)\.", "pair.", name)


def renamed_state(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict with the parameter names of this project."""
    return {parameter_name(name): value for name, value in official.items()}
