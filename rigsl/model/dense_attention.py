"""NodeFormer's attention with a weight for every pair of nodes of a dialogue, and the link loss on it.

Source: Wu et al., NodeFormer, NeurIPS 2022; docs/model.md, sections 4 and 7. The gradients are written out:
for small models, the many small operations that PyTorch's own take are what a step consists of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rigsl.model.dense_graph import DenseGraph

#: Added to every random feature, as the official kernel does.
STABILISER = 1e-6


def relation_weights(query: Tensor, key: Tensor, real: Tensor) -> Tensor:
    """Attention A_ij = S_ij / sum_j S_ij of node i to nodes j, with S = q' k'^T; always in float32.

    q' and k' are the positive random features of the softmax kernel, exp(P x - |x|^2 / 2 - max) + 1e-6. The
    max is over the features for queries, and over features and nodes for keys; padded keys are left out of it
    and become zero.

    Shapes: query, key [B, H, N, M + 1] (see `projected`), real [B, 1, N, 1] -> [B, H, N, N]
    """
    with torch.autocast(query.device.type, enabled=False):
        weights: Tensor = _Relations.apply(query, key, real)  # type: ignore[no-untyped-call]
        return weights


class _Relations(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, real: Tensor) -> Tensor:
        products = query[..., :-1]
        largest, query_at = products.max(dim=-1, keepdim=True)
        queries = (products - (query[..., -1:] + largest)).exp_().add_(STABILISER)
        products = key[..., :-1] + real.to(key.dtype).log()  # without a key in padding
        largest, key_at = products.flatten(2).max(dim=-1, keepdim=True)
        keys = products.sub_(key[..., -1:] + largest[..., None]).exp_().add_(real * STABILISER)
        weights = queries @ keys.transpose(-1, -2)
        total = weights.sum(dim=-1, keepdim=True)
        weights.div_(total)
        ctx.save_for_backward(queries, keys, weights, total, query_at, key_at, real)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, keys, weights, total, query_at, key_at, real = ctx.saved_tensors
        mean = (gradient * weights).sum(dim=-1, keepdim=True)
        d_similarity = (gradient - mean).div_(total)
        # The factor of an exponential is its value without the stabiliser.
        d_queries = (d_similarity @ keys).mul_(queries - STABILISER)
        d_keys = (d_similarity.transpose(-1, -2) @ queries).mul_(keys - real * STABILISER)
        d_query_half, d_key_half = (-part.sum(dim=-1, keepdim=True) for part in (d_queries, d_keys))
        d_queries.scatter_add_(-1, query_at, d_query_half)
        d_keys.flatten(2).scatter_add_(-1, key_at, d_key_half.sum(dim=2))
        return torch.cat([d_queries, d_query_half], dim=-1), torch.cat([d_keys, d_key_half], dim=-1), None


def gumbel_factors(exponential: Tensor, tau: float, real: Tensor) -> Tensor:
    """G_jk = exp(gumbel_jk / tau) without a common factor of a sample, zero in padding.

    Shapes: exponential [B, H, N, K], real [B, 1, N, 1] -> [B, H, N, K]
    """
    log_noise = exponential.log().mul_(-1 / tau).masked_fill_(~real, -torch.inf)
    return log_noise.sub_(log_noise.amax(dim=2, keepdim=True)).exp_()


def gumbel_weights(weights: Tensor, exponential: Tensor, tau: float, real: Tensor) -> Tensor:
    """Mean over samples k of the weights A_ij G_jk / sum_j A_ij G_jk, G_jk = exp(gumbel_jk / tau).

    The noise comes as exponential variates e (gumbel = -log e). The maximum over the nodes is subtracted
    before exp; it cancels in the ratio, and no tau can overflow.

    Shapes: weights [B, H, N, N], exponential [B, H, N, K], real [B, 1, N, 1] -> [B, H, N, N]
    """
    noise = gumbel_factors(exponential, tau, real)
    with torch.autocast(weights.device.type, enabled=False):
        noisy: Tensor = _GumbelWeights.apply(weights, noise)  # type: ignore[no-untyped-call]
        return noisy


class _GumbelWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, noise: Tensor) -> Tensor:
        inverse = (weights @ noise).reciprocal_()  # [B, H, i, K]: 1 / sum_j A_ij G_jk
        factor = (inverse @ noise.transpose(-1, -2)).div_(noise.shape[-1])
        ctx.save_for_backward(weights, noise, inverse, factor)
        return weights * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weights, noise, inverse, factor = ctx.saved_tensors
        d_share = ((gradient * weights) @ noise).mul_(inverse).mul_(inverse).div_(-noise.shape[-1])
        return (d_share @ noise.transpose(-1, -2)).addcmul_(gradient, factor), None


def link_loss(weights: Tensor, graph: DenseGraph) -> Tensor:
    """The mean of log(A_ij) / indegree(i) over a dialogue's predefined edges j -> i and the heads, summed
    over the dialogues; a dialogue without edges adds zero.

    Shapes: weights [B, H, N, N] with N = M * T -> scalar
    """
    loss: Tensor = _LinkLoss.apply(weights, *graph.shares)  # type: ignore[no-untyped-call]
    return loss / weights.shape[1]


class _LinkLoss(torch.autograd.Function):
    """The sum over the edges of a share times log(A_ij). What is no edge has the share zero, and may be 0.

    Shapes: weights [B, H, N, N], intra [B, T, T], cross [B, M, M, T] -> scalar
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, intra: Tensor, cross: Tensor) -> Tensor:
        ctx.save_for_backward(weights, intra, cross)
        within, across = _edges(weights, cross)
        total: Tensor = (_positive(within).log_() * intra[:, None, :, :, None]).sum()
        return total + (_positive(across).log_() * cross[:, None]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weights, intra, cross = ctx.saved_tensors
        result = torch.zeros_like(weights)
        for part, values, share in zip(
            _edges(result, cross),
            _edges(weights, cross),
            ((intra * gradient)[:, None, :, :, None], (cross * gradient)[:, None]),
            strict=True,
        ):
            part.add_(share / _positive(values))
        return result, None, None


def _edges(weights: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the weights within a modality and of those within an utterance, which are not disjoint.

    Shapes: weights [B, H, M * T, M * T], cross [B, M, M, T] -> [B, H, T, T, M], [B, H, M, M, T]
    """
    modalities, longest = cross.shape[2:]
    blocks = weights.view(*weights.shape[:2], modalities, longest, modalities, longest)
    return torch.diagonal(blocks, dim1=2, dim2=4), torch.diagonal(blocks, dim1=3, dim2=5)


def _positive(weights: Tensor) -> Tensor:
    """A copy, with the smallest positive number in place of zeros."""
    return weights.clamp_min(torch.finfo(weights.dtype).tiny)
