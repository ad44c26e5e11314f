"""Implicit graph relation mining (IGR): NodeFormer over all nodes of each dialogue.

Source: Wu et al., NodeFormer, NeurIPS 2022; RIGSL's ``nodeformer.py``; docs/model.md, section 4. Computed in
the exact dense form of section 7: one [N, N] weight matrix per head, no [N, H, K, d] tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.dense_graph import DenseGraph
from rigsl.model.dropout import dropout
from rigsl.model.edge_list import EdgeList
from rigsl.model.edges import DialogueGraph
from rigsl.model.linear import Linear, linear
from rigsl.model.linear_attention import linear_attention, linear_link_loss
from rigsl.model.precision import full_precision
from rigsl.model.recomputed import recomputed

#: Added to every random feature, as the official kernel does.
STABILISER = 1e-6


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
    """P x and |x|^2 / 2 side by side with x = tau^-1/2 d^-1/4 row, the input of `softmax_kernel`. In float32.

    Shapes: rows [..., d], projection [M, d] -> [..., M + 1]
    """
    scale = tau**-0.5 * rows.shape[-1] ** -0.25
    with torch.autocast(rows.device.type, enabled=False):
        rows = full_precision(rows)
        squares = rows.square().sum(dim=-1, keepdim=True) * (scale**2 / 2)
        return torch.cat([linear(rows, projection) * scale, squares], dim=-1)


def softmax_kernel(data: Tensor, real: Tensor | None = None) -> Tensor:
    """Positive random features of the softmax kernel.

    exp(P x - |x|^2 / 2 - max) + 1e-6. The max is over the features (queries), or over features and nodes if
    `real` says which nodes exist (keys); padded keys are left out of the max and become zero.

    Shapes: data [B, H, N, M + 1] (see `projected`), real [B, 1, N, 1] -> [B, H, N, M]
    """
    products, half_square = data[..., :-1], data[..., -1:]
    if real is None:
        exponent = products - (half_square + products.amax(dim=-1, keepdim=True))
        return torch.exp(exponent) + STABILISER
    largest = products.masked_fill(~real, -torch.inf).amax(dim=(-2, -1), keepdim=True)
    exponent = products - (half_square + largest).masked_fill(~real, torch.inf)
    return (torch.exp(exponent) + STABILISER) * real


def relation_weights(query: Tensor, key: Tensor, real: Tensor) -> Tensor:
    """Attention A_ij = S_ij / sum_j S_ij of node i to nodes j, with S = q' k'^T; always in float32.

    Shapes: query, key [B, H, N, M + 1] (see `projected`), real [B, 1, N, 1] -> [B, H, N, N]
    """
    with torch.autocast(query.device.type, enabled=False):
        similarity: Tensor = softmax_kernel(query) @ softmax_kernel(key, real).transpose(-1, -2)
        return similarity / similarity.sum(dim=-1, keepdim=True)


def key_features(data: Tensor, lengths: Sequence[int]) -> Tensor:
    """`softmax_kernel` of the keys of dialogues one after another: its max is over each dialogue's own nodes.

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


def gumbel_factors(exponential: Tensor, tau: float, real: Tensor) -> Tensor:
    """G_jk = exp(gumbel_jk / tau) without a common factor of a sample, zero in padding.

    Shapes: exponential [B, H, N, K], real [B, 1, N, 1] -> [B, H, N, K]
    """
    log_noise = (-torch.log(exponential) / tau).masked_fill(~real, -torch.inf)
    return torch.exp(log_noise - log_noise.amax(dim=2, keepdim=True))


def gumbel_weights(weights: Tensor, exponential: Tensor, tau: float, real: Tensor) -> Tensor:
    """Mean over samples k of the weights A_ij G_jk / sum_j A_ij G_jk, G_jk = exp(gumbel_jk / tau).

    The noise comes as exponential variates e (gumbel = -log e). The maximum over the nodes is subtracted
    before exp; it cancels in the ratio, and no tau can overflow.

    Shapes: weights [B, H, N, N], exponential [B, H, N, K], real [B, 1, N, 1] -> [B, H, N, N]
    """
    noise = gumbel_factors(exponential, tau, real)
    with torch.autocast(weights.device.type, enabled=False):
        share = weights @ noise  # [B, H, i, K]: sum_j A_ij G_jk
        return weights * (share.reciprocal() @ noise.transpose(-1, -2)) / exponential.shape[-1]


def link_loss(weights: Tensor, graph: DenseGraph) -> Tensor:
    """The mean of log(A_ij) / indegree(i) over a dialogue's predefined edges j -> i and the heads, summed
    over the dialogues; a dialogue without edges adds zero.

    Shapes: weights [B, H, N, N] with N = M * T -> scalar
    """
    size, heads, modalities = weights.shape[0], weights.shape[1], graph.modalities
    longest = graph.real.shape[1]
    blocks = weights.reshape(size, heads, modalities, longest, modalities, longest)
    per_edge = 1.0 / (graph.indegree().clamp_min(1) * graph.edges.clamp_min(1)[:, None] * heads)  # [B, T]
    within = torch.diagonal(blocks, dim1=2, dim2=4)  # [B, H, T, T, M]
    mask = graph.intra[:, None, :, :, None]
    total = (torch.where(mask, within, 1.0).log().sum(dim=(1, 3, 4)) * per_edge).sum()
    if modalities > 1:
        across = torch.diagonal(blocks, dim1=3, dim2=5)  # [B, H, M, M, T]
        mask = graph.cross[:, None]
        total = total + (torch.where(mask, across, 1.0).log().sum(dim=(1, 2, 3)) * per_edge).sum()
    return total


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
        query, key = (
            batch.pad_heads(projected(self._heads(layer(z)), projection, self.tau), graph.modalities)
            for layer in (self.query, self.key)
        )
        return relation_weights(query, key, _real_nodes(graph))

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
        return softmax_kernel(query), key_features(key, lengths)

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
        return rows.reshape(len(rows), self.heads, -1)


def _real_nodes(graph: DialogueGraph) -> Tensor:
    """True for nodes, false for padding: [B, 1, N, 1]"""
    return graph.real.repeat(1, graph.modalities)[:, None, :, None]


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
