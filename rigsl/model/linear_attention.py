"""NodeFormer's attention in its linear form: sums over keys, instead of a weight for every pair of nodes.

Source: Wu et al., NodeFormer, NeurIPS 2022, section 3; docs/model.md, sections 4 and 7. Numbers grow with the
nodes, and with neither their square nor the samples of the noise: what a sample needs is computed again in
the backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rigsl.model.edge_list import EdgeList
from rigsl.model.recomputed import recomputed
from rigsl.model.sparse_products import inner_products

#: Columns of a matrix product that samples share: narrower ones would spend their time on memory.
COLUMNS = 256


def linear_attention(query: Tensor, key: Tensor, value: Tensor, noise: Tensor | None) -> Tensor:
    """One head of one dialogue: out_i = mean_k [sum_j S_ij G_jk v_j / sum_j S_ij G_jk] with S = q' k'^T.

    Args:
        query, key: random features of every node.
        noise: G, without a common factor; None: out_i = sum_j S_ij v_j / sum_j S_ij.

    Shapes: query, key [N, F], value [N, d], noise [N, K] -> [N, d]
    """
    if noise is None:
        total: Tensor = query @ key.sum(dim=0)
        return query @ (key.T @ value) / total[:, None]
    parts = torch.split(noise, max(1, COLUMNS // query.shape[1]), dim=1)
    out: Tensor = sum(recomputed(_sampled_attention, query, key, value, part) for part in parts)
    return out / noise.shape[1]


def _sampled_attention(query: Tensor, key: Tensor, value: Tensor, noise: Tensor) -> Tensor:
    """The sum over the samples k. Shapes: query, key [N, F], value [N, d], noise [N, K] -> [N, d]"""
    keys = noise[:, :, None] * key[:, None]  # [N, K, F]
    total = query @ keys.sum(dim=0).T  # [N, K]
    queries = query[:, None] / total[:, :, None]
    return queries.flatten(1) @ (keys.flatten(1).T @ value)


def linear_link_loss(query: Tensor, key: Tensor, graph: EdgeList) -> Tensor:
    """The mean of log(A_ij) / indegree(i) over a dialogue's predefined edges j -> i and the heads, summed
    over the dialogues, with A_ij = S_ij / sum_j S_ij. Shapes: query, key [H, M * U, F] -> scalar"""
    row = graph.pattern.row
    per_edge = 1.0 / (graph.indegree()[row] * graph.dialogue_edges() * len(query))
    losses = []
    for head_query, head_key in zip(query.unbind(), key.unbind(), strict=True):
        totals = (head_query * graph.dialogue_sums(head_key)).sum(dim=1)
        similar = inner_products(graph.pattern, head_query, head_key)
        losses.append(((similar.log() - totals.log().index_select(0, row)) * per_edge).sum())
    return torch.stack(losses).sum()
