"""The model's operators that have a gradient of their own, in operations for which ``torch.func.vmap`` has
rules. They take the arguments of the operators, and give the same numbers up to rounding."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rigsl.model.backbones.m3net import SLOPE
from rigsl.model.dense_graph import DenseGraph, _joined


def linears(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`rigsl.model.linear._Linears`."""
    return x @ weight.transpose(1, 2) + bias[:, None]


def edge_sums(scores: Tensor, graph: DenseGraph) -> Tensor:
    """`rigsl.model.dense_graph._EdgeSums`."""
    columns = graph.batch.pad(scores, graph.modalities).unbind(dim=-1)  # [B, M, T] each
    different, same = (columns[3 + kind][..., None] + columns[kind][..., None, :] for kind in (0, 1))
    intra = torch.where(graph.same[:, None], same, different)
    sums = [_joined(intra, columns[5][:, :, None] + columns[2][:, None])]
    if len(columns) > 6:
        target, source = columns[6:]
        sums.append(_joined(target[..., None] + source[..., None, :], target[:, :, None] + source[:, None]))
    return torch.stack(sums)


def ends(graph: DenseGraph, norm: Tensor) -> Tensor:
    """`DenseGraph.ends`."""
    return _joined(norm[..., None] * norm[..., None, :], norm[:, :, None] * norm[:, None])


def messages(x: Tensor, values: Tensor, graph: DenseGraph) -> Tensor:
    """`rigsl.model.dense_graph._Messages`."""
    padded = graph.batch.pad(x, graph.modalities)
    intra, cross = graph.blocks(values)
    out = (intra @ padded).unbind(dim=1)
    for target, source in permutations(range(graph.modalities), 2):
        message = cross[:, target, source, :, None] * padded[:, source]
        out = (*out[:target], out[target] + message, *out[target + 1 :])
    return graph.batch.unpad(torch.stack(out, dim=1))


def hard_concrete(
    logit: Tensor, mask: Tensor, uniform: Tensor | None, temperature: Any, gamma: float, zeta: float
) -> tuple[Tensor, Tensor]:
    """`rigsl.model.sparsify._HardConcrete`."""
    noisy = logit if uniform is None else (uniform.logit() + logit) / temperature
    gate = (torch.sigmoid(noisy) * (zeta - gamma) + gamma).clamp(0.0, 1.0)
    return gate * mask, torch.sigmoid(logit - temperature * math.log(-gamma / zeta)) * mask


def projected(rows: Tensor, projection: Tensor, factor: Any) -> Tensor:
    """`rigsl.model.nodeformer._Projected`."""
    return torch.cat([rows @ projection.T, rows.square().sum(dim=1, keepdim=True) * factor], dim=1)


def hypergraph(x: Tensor, p: Tensor, q: Tensor, real: Tensor, *biases: Tensor) -> Tensor:
    """`rigsl.model.backbones.m3net._Hypergraph`."""
    for bias in biases:
        members, parts = x.sum(dim=2, keepdim=True), x.sum(dim=1, keepdim=True)
        x = F.leaky_relu(p[..., None] * members + q[..., None] * parts + bias, SLOPE)
        x = x * real[:, None, :, None]
    return x
