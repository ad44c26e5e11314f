"""A part of the model as the memory estimate sees it, and the sizes of tensors that it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.memory.shapes import Load


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`layers` equal layers in a row, each with `weights` parameters. The rest are numbers of four bytes.

    saved: what a layer keeps for its backward pass; forward, backward: the most of it alive in its training
    passes, `saved` included; inference: the same without gradients; output: how many more are alive after
    it than before it, without gradients (negative where results of earlier stages end with it).
    """

    saved: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    inference: float = 0.0
    output: float = 0.0
    weights: int = 0
    layers: int = 1


class Sizes:
    """Numbers in the tensors of a batch, by shape.

    utterance: [U, d]; node: [M U, d]; place: [B, M, T, d], padding included; pair: [B, M, T, T];
    cross: [B, M, M, T]. half: how a product's result counts; bfloat16 is half a number, in training only.
    """

    def __init__(
        self, config: RIGSLConfig, schema: Schema, load: Load, *, cuda: bool, training: bool
    ) -> None:
        self.config, self.schema, self.load, self.cuda = config, schema, load, cuda
        d, modalities = config.hidden_dim, len(config.modals)
        self.d, self.modalities = d, modalities
        self.half = 0.5 if training and config.precision == "bf16" else 1.0
        self.utterance = load.utterances * d
        self.node = modalities * self.utterance
        self.place = load.dialogues * modalities * load.longest * d
        self.pair = load.dialogues * modalities * load.longest**2
        self.cross = load.dialogues * modalities**2 * load.longest

    def cast(self, numbers: float) -> float:
        """The bfloat16 copies that autocast makes of weights and inputs, kept for the backward pass."""
        return (1 - self.half) * numbers

    def mask(self, dropout: float) -> float:
        """How a dropout's mask counts: a number on the CPU, a byte on a GPU."""
        return 0.0 if dropout == 0 else 0.25 if self.cuda else 1.0


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Parameters of a linear map."""
    return inputs * outputs + (outputs if bias else 0)
