"""Implicit graph relation mining (IGR): NodeFormer over all nodes of each dialogue.

Source: Wu et al., NodeFormer, NeurIPS 2022; RIGSL's ``nodeformer.py``; docs/model.md, section 4. Computed in
the exact dense form of section 7: one [N, N] weight matrix per head, no [N, H, K, d] tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.dense_attention import (
    STABILISER,
    gumbel_factors,
    gumbel_weights,
    link_loss,
    relation_weights,
)
from rigsl.model.dense_graph import DenseGraph
from rigsl.model.dropout import dropout
from rigsl.model.edge_list import EdgeList
from rigsl.model.edges import DialogueGraph
from rigsl.model.linear import Linear, linear, small
from rigsl.model.linear_attention import linear_attention, linear_link_loss
from rigsl.model.precision import full_precision
from rigsl.model.recomputed import recomputed


def orthogonal_projection(features: int, width: int, generator: torch.Generator | None = None) -> Tensor:
    """Random projection [features, width]: orthogonal rows (in blocks of `width`) with the norms of
    Gaussian rows (Choromanski et al., Performer, 2021)."""
    blocks = []
    for start in range(0, features, width):
        rows = min(width, features - start)
        q, _ = torch.linalg.qr(torch.randn(width, rows, generator=generator))
        blocks.append(q.T)
    norms: Tensor = torch.randn(features, width, generator=generator).norm(dim=1, keepdim=True)
    return torch.cat(blocks) * norms


def projected(rows: Tensor, projection: Tensor, tau: float) -> Tensor:
    """P x and |x|^2 / 2 side by side with x = tau^-1/2 d^-1/4 row, the input of the kernel. In float32.

    Shapes: rows [..., d], projection [M, d] -> [..., M + 1]
    """
    scale = tau**-0.5 * rows.shape[-1] ** -0.25
    with torch.autocast(rows.device.type, enabled=False):
        flat = full_precision(rows.reshape(-1, rows.shape[-1]))
        out: Tensor = _Projected.apply(flat, projection * scale, scale**2 / 2)  # type: ignore[no-untyped-call]
        return out.view(*rows.shape[:-1], -1)


class _Projected(torch.autograd.Function):
    """P x and |x|^2 times a factor side by side. Shapes: x [n, d], P [M, d] -> [n, M + 1]"""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, projection: Tensor, factor: float) -> Tensor:
        out = rows.new_empty(len(rows), len(projection) + 1)
        torch.mm(rows, projection.T, out=out[:, :-1])
        torch.mul(torch.linalg.vecdot(rows, rows), factor, out=out[:, -1])
        ctx.save_for_backward(rows, projection)
        ctx.factor = factor
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, projection = ctx.saved_tensors
        d_rows = gradient[:, :-1] @ projection
        return d_rows.addcmul_(rows, gradient[:, -1:], value=2 * ctx.factor), None, None


def query_features(data: Tensor) -> Tensor:
    """Positive random features of the softmax kernel, exp(P x - |x|^2 / 2 - max over the features) + 1e-6.

    Shapes: data [H, M, U, F + 1] (see `projected`) -> [H, M, U, F]
    """
    products, half_square = data[..., :-1], data[..., -1:]
    return torch.exp(products - (half_square + products.amax(dim=-1, keepdim=True))) + STABILISER


def key_features(data: Tensor, lengths: Sequence[int]) -> Tensor:
    """The same of the keys of dialogues one after another: the max is over all nodes of a dialogue, too.

    Shapes: data [H, M, U, F + 1] (see `projected`) -> [H, M, U, F]
    """
    products, half_square = data[..., :-1], data[..., -1:]
    largest = [
        part.amax(dim=(1, 2, 3), keepdim=True).expand(-1, 1, length, 1)
        for part, length in zip(torch.split(products, list(lengths), dim=2), lengths, strict=True)
    ]
    return torch.exp(products - (half_square + torch.cat(largest, dim=2))) + STABILISER


def exponential_noise(like: Tensor, *shape: int) -> Tensor:
    """Positive exponential variates."""
    noise = torch.empty(*shape, device=like.device, dtype=like.dtype)
    return noise.exponential_().clamp_min(torch.finfo(noise.dtype).tiny)


class NodeFormerLayer(nn.Module):
    """One layer of all-pairs message passing with H heads of width d each.

    Shapes: z [M * U, d] -> (z [M * U, d], link loss scalar)
    """

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d, self.heads = config.hidden_dim, config.nodeformer_heads
        self.query = Linear(d, d * self.heads)
        self.key = Linear(d, d * self.heads)
        self.value = Linear(d, d * self.heads)
        self.out = Linear(d * self.heads, d)
        self.tau, self.samples = config.tau, config.gumbel_k if config.use_gumbel else 0

    def forward(
        self, z: Tensor, projection: Tensor, batch: Batch, graph: DialogueGraph
    ) -> tuple[Tensor, Tensor]:
        if isinstance(graph, EdgeList):
            return self._linear(z, projection, graph)
        assert isinstance(graph, DenseGraph)
        weights = self.relations(z, projection, batch, graph)
        links = link_loss(weights, graph)
        if self.training and self.samples:
            noise = exponential_noise(weights, *weights.shape[:3], self.samples)
            weights = gumbel_weights(weights, noise, self.tau, _real_nodes(graph))
        value = batch.pad_heads(self._heads(self.value(z)), graph.modalities)
        rows = batch.unpad_heads(weights.to(value.dtype) @ value, graph.modalities)
        return self.out(rows.flatten(1)), links

    def relations(self, z: Tensor, projection: Tensor, batch: Batch, graph: DialogueGraph) -> Tensor:
        """Attention of every node to all nodes of its dialogue. Shapes: z [M * U, d] -> [B, H, N, N]"""
        data = projected(self._queries_and_keys(z), projection, self.tau)
        query, key = batch.pad_heads(data.flatten(2), graph.modalities).chunk(2, dim=-1)
        return relation_weights(query, key, _real_nodes(graph))

    def _queries_and_keys(self, z: Tensor) -> Tensor:
        """Side by side for each head: [M * U, d] -> [M * U, H, 2, d]"""
        layers = (self.query, self.key)
        if not small(self.query.weight):
            return torch.stack([self._heads(layer(z)) for layer in layers], dim=2)
        weight, bias = (
            torch.stack([self._by_head(getattr(layer, name)) for layer in layers], dim=1)
            for name in ("weight", "bias")
        )
        return linear(z, weight.flatten(0, 2), bias.flatten()).view(len(z), self.heads, 2, -1)

    def _linear(self, z: Tensor, projection: Tensor, graph: EdgeList) -> tuple[Tensor, Tensor]:
        """`forward` for a graph in the sparse form, in full precision."""
        modalities, lengths = graph.modalities, list(graph.batch.lengths)
        query, key, value = (
            full_precision(layer(z).reshape(modalities, -1, self.heads, z.shape[1]).permute(2, 0, 1, 3))
            for layer in (self.query, self.key, self.value)
        )  # [H, M, U, d]
        with torch.autocast(z.device.type, enabled=False):
            query, key = recomputed(self._features, query, key, projection, lengths)  # [H, M, U, F]
            links = linear_link_loss(query.flatten(1, 2), key.flatten(1, 2), graph)
            parts = [torch.split(part, lengths, dim=2) for part in (query, key, value)]
            out = torch.cat([self._attend(*dialogue) for dialogue in zip(*parts, strict=True)], dim=2)
        return self.out(out.permute(1, 2, 0, 3).flatten(2).flatten(0, 1).to(z.dtype)), links

    def _features(
        self, query: Tensor, key: Tensor, projection: Tensor, lengths: list[int]
    ) -> tuple[Tensor, Tensor]:
        query, key = (projected(rows, projection, self.tau) for rows in (query, key))
        return query_features(query), key_features(key, lengths)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """All heads of one dialogue. Shapes: query, key [H, M, T, F], value [H, M, T, d] -> [H, M, T, d]"""
        nodes = [part.flatten(1, 2).unbind() for part in (query, key, value)]
        noise: Sequence[Tensor | None] = [None] * self.heads
        if self.training and self.samples:
            drawn = exponential_noise(value, 1, self.heads, nodes[0][0].shape[0], self.samples)
            noise = gumbel_factors(drawn, self.tau, torch.ones_like(drawn[:, :1, :, :1]) > 0)[0].unbind()
        heads = [linear_attention(*head) for head in zip(*nodes, noise, strict=True)]
        return torch.stack(heads).reshape(value.shape)

    def _heads(self, rows: Tensor) -> Tensor:
        """[M * U, H * d] -> [M * U, H, d]"""
        return rows.view(len(rows), self.heads, -1)

    def _by_head(self, parameter: Tensor) -> Tensor:
        """[H * d, ...] -> [H, d, ...]"""
        return parameter.view(self.heads, -1, *parameter.shape[1:])


def _real_nodes(graph: DialogueGraph) -> Tensor:
    """True for nodes, false for padding: [B, 1, N, 1]"""
    return graph.real_nodes[:, None, :, None]


class NodeFormer(nn.Module):
    """`num_K` layers: z0 = dropout(elu(LN(Linear(x)))); then layer, + z with the residual, LN, dropout.

    The random projection is drawn once, shared by all layers, and saved with the weights. (The official code
    draws it in every forward pass from a seed that saturates, so it is always the same one.) With
    `use_jk_nodeformer` the result is a linear map of the concatenated z of all layers.

    Shapes: [M * U, d] -> (features [M * U, d], link loss: mean over the layers)
    """

    projection: Tensor

    def __init__(self, config: RIGSLConfig) -> None:
        super().__init__()
        d, depth = config.hidden_dim, config.num_K
        self.input = Linear(d, d)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(depth + 1))
        self.layers = nn.ModuleList(NodeFormerLayer(config) for _ in range(depth))
        self.jump = Linear((depth + 1) * d, d) if config.use_jk_nodeformer else None
        self.dropout, self.residual = config.nodeformer_dropout, config.use_residue_nodeformer
        self.register_buffer("projection", orthogonal_projection(config.nb_features_dim, d))

    def forward(self, x: Tensor, batch: Batch, graph: DialogueGraph) -> tuple[Tensor, Tensor]:
        z = dropout(F.elu(self.norms[0](self.input(x))), self.dropout, self.training)
        outputs, links = [z], []
        for layer, norm in zip(self.layers, list(self.norms)[1:], strict=True):
            step, link = layer(z, self.projection, batch, graph)
            z = dropout(norm(step + z if self.residual else step), self.dropout, self.training)
            outputs.append(z)
            links.append(link)
        if self.jump is not None:
            z = self.jump(torch.cat(outputs, dim=-1))
        return z, torch.stack(links).mean()
