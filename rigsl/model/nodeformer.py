"""Implicit graph relation mining (IGR): NodeFormer over all nodes of each dialogue.

Source: Wu et al., NodeFormer, NeurIPS 2022; RIGSL's ``nodeformer.py``; docs/model.md, section 4. Computed in
the exact dense form of section 7: one [N, N] weight matrix per head, no [N, H, K, d] tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.graph import DialogueGraph
from rigsl.model.linear import Linear, linear
from rigsl.model.precision import full_precision

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


def gumbel_weights(weights: Tensor, exponential: Tensor, tau: float, real: Tensor) -> Tensor:
    """Mean over samples k of the weights A_ij G_jk / sum_j A_ij G_jk, G_jk = exp(gumbel_jk / tau).

    The noise comes as exponential variates e (gumbel = -log e). The maximum over the nodes is subtracted
    before exp; it cancels in the ratio, and no tau can overflow.

    Shapes: weights [B, H, N, N], exponential [B, H, N, K], real [B, 1, N, 1] -> [B, H, N, N]
    """
    log_noise = (-torch.log(exponential) / tau).masked_fill(~real, -torch.inf)
    noise = torch.exp(log_noise - log_noise.amax(dim=2, keepdim=True))  # [B, H, N, K]
    with torch.autocast(weights.device.type, enabled=False):
        share = weights @ noise  # [B, H, i, K]: sum_j A_ij G_jk
        return weights * (share.reciprocal() @ noise.transpose(-1, -2)) / exponential.shape[-1]


def link_loss(weights: Tensor, graph: DialogueGraph) -> Tensor:
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
        mask = graph.cross[:, :, None] & graph.real[:, None, None, None, :]
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
        weights = self.relations(z, projection, batch, graph)
        links = link_loss(weights, graph)
        if self.training and self.samples:
            noise = torch.empty(*weights.shape[:3], self.samples, device=z.device, dtype=weights.dtype)
            noise = noise.exponential_().clamp_min(torch.finfo(noise.dtype).tiny)
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
        z = F.dropout(F.elu(self.norms[0](self.input(x))), self.dropout, self.training)
        outputs, links = [z], []
        for layer, norm in zip(self.layers, list(self.norms)[1:], strict=True):
            step, link = layer(z, self.projection, batch, graph)
            z = F.dropout(norm(step + z if self.residual else step), self.dropout, self.training)
            outputs.append(z)
            links.append(link)
        if self.jump is not None:
            z = self.jump(torch.cat(outputs, dim=-1))
        return z, torch.stack(links).mean()
