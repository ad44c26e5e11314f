"""How operators run for K trainings at once for which ``torch.func.vmap`` has no rule, or another one.

These are this project's own operators, recurrent networks, and random numbers, which equal those of a
training that is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from benchmarks.gpu.batched import plain
from benchmarks.gpu.batched.recurrence import recurrence
from rigsl.data import gather
from rigsl.data.batches import Packing
from rigsl.model import (
    dense_attention,
    dense_graph,
    dropout,
    encoder,
    linear,
    nodeformer,
    recurrent,
    sparsemax,
    sparsify,
)
from rigsl.model.backbones import m3net
from rigsl.model.dropout import VALUES, kept_values


class Rates(float):
    """A dropout rate for each training. It stands in the model as one number, the largest of them."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Rates:
        """These rates."""
        rates = cls(max(values))
        rates.values = tuple(values)
        return rates


class Rules:
    """The rules; `generators` are those of the random numbers of each training."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        in_turn = _batched(self._networks_in_turn)

        def recurrent_network(network: encoder.Recurrent, rows: Tensor, packing: Packing) -> Any:
            names, weights = zip(*network.rnn.named_parameters(), strict=True)
            return in_turn(rows, network.rnn, packing, names, *weights)

        self._places: list[tuple[Any, str, Callable[..., Any]]] = [
            (gather._Pad, "apply", _batched(_after_rows(gather._Pad.apply))),
            (gather._Unpad, "apply", _batched(_after_rows(gather._Unpad.apply))),
            (recurrent._Recurrence, "apply", _batched(recurrence)),
            (sparsemax._Sparsemax, "apply", _batched(sparsemax._Sparsemax.apply)),
            *(
                (function, "apply", _batched(_as_dialogues(function.apply)))
                for function in (dense_attention._Relations, dense_attention._GumbelWeights)
            ),
            (dense_attention._LinkLoss, "apply", _part_by_part(dense_attention._LinkLoss)),
            (dropout, "random_mask", _batched(self._random_mask)),
            (F, "dropout", _batched(self._dropout)),
            (sparsify, "uniform_noise", _batched(self._uniform)),
            (nodeformer, "exponential_noise", _batched(self._exponential)),
            (encoder.Recurrent, "forward", recurrent_network),
            (linear, "_by_onednn", lambda *_: False),  # PyTorch's own product has a rule
            (linear._Linears, "apply", plain.linears),
            (dense_graph._EdgeSums, "apply", plain.edge_sums),
            (dense_graph._Messages, "apply", plain.messages),
            (dense_graph.DenseGraph, "ends", plain.ends),
            (sparsify._HardConcrete, "apply", plain.hard_concrete),
            (nodeformer._Projected, "apply", plain.projected),
            (m3net._Hypergraph, "apply", plain.hypergraph),
        ]

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Put the rules in the places of the operators, in the modules of the whole process."""
        with ExitStack() as stack:
            for place, name, rule in self._places:
                stack.enter_context(patch.object(place, name, rule))
            yield

    def _drawn(
        self, like: Tensor, shape: Sequence[int], draw: Callable[[Tensor, int, torch.Generator], object]
    ) -> Tensor:
        """Random numbers, those of each training from its own generator. -> [K, *shape]"""
        noise = torch.empty((len(self._generators), *shape), dtype=like.dtype, device=like.device)
        for index, (part, generator) in enumerate(zip(noise.unbind(), self._generators, strict=True)):
            draw(part, index, generator)
        return noise

    def _dropout(self, x: Tensor, p: float, training: bool = True) -> Tensor:
        if not training or not p:
            return x
        keep = [1 - rate for rate in (p.values if isinstance(p, Rates) else [p] * len(x))]

        def draw(part: Tensor, index: int, generator: torch.Generator) -> None:
            if keep[index] < 1:
                part.bernoulli_(keep[index], generator=generator).div_(keep[index])
            else:  # PyTorch draws nothing, either
                part.fill_(1.0)

        return x * self._drawn(x, x.shape[1:], draw)

    def _random_mask(self, like: Tensor, p: float) -> Tensor:
        """`rigsl.model.dropout.random_mask`, by the words that each training draws alone."""
        rates, shape = p.values if isinstance(p, Rates) else [p] * len(like), like.shape[1:]
        kept = [kept_values(rate) if rate else VALUES for rate in rates]

        def draw(part: Tensor, index: int, generator: torch.Generator) -> None:
            if rates[index]:  # without dropout, a training that is alone draws nothing, either
                part.random_(-(2**63), None, generator=generator)

        def of_each(numbers: Sequence[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(numbers, dtype=dtype).view(-1, *[1] * len(shape))

        words = self._drawn(like.new_empty(0, dtype=torch.int64), [-(-shape.numel() // 4)], draw)
        bits = words.view(torch.int16)[:, : shape.numel()].reshape(like.shape)
        mask = bits < of_each([number - VALUES // 2 for number in kept], torch.int32)
        return mask.to(like.dtype).mul_(of_each([VALUES / number for number in kept], like.dtype))

    def _uniform(self, like: Tensor) -> Tensor:
        return self._drawn(
            like, like.shape[1:], lambda part, _, generator: part.uniform_(generator=generator)
        )

    def _exponential(self, like: Tensor, *shape: int) -> Tensor:
        noise = self._drawn(like, shape, lambda part, _, generator: part.exponential_(generator=generator))
        return noise.clamp_min_(torch.finfo(noise.dtype).tiny)

    def _networks_in_turn(
        self, rows: Tensor, rnn: nn.RNNBase, packing: Packing, names: Sequence[str], *weights: Tensor
    ) -> Tensor:
        """A recurrent network of PyTorch, which has no form with a leading dimension of its weights."""
        states, rates = [], rnn.dropout
        for index, generator in enumerate(self._generators):
            rnn.dropout = rates.values[index] if isinstance(rates, Rates) else rates
            chosen = {name: weight[index] for name, weight in zip(names, weights, strict=True)}
            packed = PackedSequence(rows[index][packing.order], packing.sizes)
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(generator.get_state())
                states.append(functional_call(rnn, chosen, (packed,))[0].data[packing.inverse])
                generator.set_state(torch.get_rng_state())
        rnn.dropout = rates
        return torch.stack(states)


def _batched(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """`function` in the place of an operator: it gets the operator's arguments with a leading dimension for
    the K trainings where they depend on the training, and its result has that dimension."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(first: Tensor, *others: Any) -> Tensor:  # equal for all trainings, such as speakers
            return function(first[None], *others)[0]

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            """Keep nothing: what is equal for all trainings has no gradient."""

        @staticmethod
        def vmap(info: Any, in_dims: Any, *operands: Any) -> tuple[Tensor, int]:
            pairs = zip(operands, in_dims, strict=True)
            return function(*(x.movedim(at, 0) if isinstance(at, int) else x for x, at in pairs)), 0

    rule: Callable[..., Any] = Rule.apply
    return rule


def _after_rows(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For an operator on rows: the trainings as the dimension after the rows."""
    return lambda rows, index: function(rows.transpose(0, 1), index).transpose(0, 1).contiguous()


def _as_dialogues(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For an operator on each dialogue of a batch: those of all trainings, K * B dialogues, in one batch."""

    def merged(first: Tensor, *others: Tensor) -> Tensor:
        every = (x if x.ndim == first.ndim else x.expand(len(first), *x.shape) for x in others)
        out = function(*(x.flatten(0, 1) for x in (first, *every)))
        return out.view(*first.shape[:2], *out.shape[1:])

    return merged


def _part_by_part(function: Any) -> Callable[..., Any]:
    """For an operator that keeps nothing but its operands: ``vmap`` runs its forward and backward pass."""

    class Rule(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*operands: Tensor) -> Any:
            return function.forward(SimpleNamespace(save_for_backward=lambda *_: None), *operands)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            return function.backward(ctx, gradient)

    rule: Callable[..., Any] = Rule.apply
    return rule
