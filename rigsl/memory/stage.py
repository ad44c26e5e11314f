"""A stage of the model in the memory estimate, and the sizes of tensors that it is made of."""

from __future__ import annotations

from dataclasses import dataclass

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.memory.shapes import BatchShape
from rigsl.model.graph import sparse_form_pays


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`layers` equal layers, each with `weights` parameters. The other fields count numbers of four bytes.

    saved: what a layer keeps for its backward pass; forward, backward: the maximum alive in its forward and
    backward pass in training, `saved` included; inference: the maximum without gradients; output: how many
    more are alive after it than before it, without gradients (negative if results of earlier stages are
    freed after it).
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

    utterance: [U, d]; node: [M U, d]; padded: [B, M, T, d]; pair: [B, M, T, T]; cross: [B, M, M, T];
    edge: of every edge in the form that the graph has, slots of pairs without one included.
    sparse: whether that is a list of edges.
    half: the size of a matrix product's result in numbers of four bytes, 0.5 in training with bfloat16.
    """

    def __init__(
        self, config: RIGSLConfig, schema: Schema, batch: BatchShape, *, cuda: bool, training: bool
    ) -> None:
        self.config, self.schema, self.batch, self.cuda = config, schema, batch, cuda
        d, modalities = config.hidden_dim, len(config.modalities)
        self.d, self.modalities = d, modalities
        self.half = 0.5 if training and config.precision == "bf16" else 1.0
        self.utterance = batch.utterances * d
        self.node = modalities * self.utterance
        self.padded = batch.dialogues * modalities * batch.longest * d
        self.pair = batch.dialogues * modalities * batch.longest**2
        self.cross = batch.dialogues * modalities**2 * batch.longest
        self.sparse = sparse_form_pays(config, batch.dialogues, batch.longest, batch.utterances)
        self.edge = self.pair + self.cross
        if self.sparse:
            width = min(config.windowp + config.windowf, batch.longest) + modalities - 1
            self.edge = modalities * batch.utterances * width

    def cast(self, numbers: float) -> float:
        """Size of the bfloat16 copies of weights and inputs that autocast keeps for the backward pass."""
        return (1 - self.half) * numbers

    def mask(self, dropout: float) -> float:
        """Size of a dropout's mask: a number on the CPU, a byte on a GPU."""
        return 0.0 if dropout == 0 else 0.25 if self.cuda else 1.0


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Number of parameters of a linear map."""
    return inputs * outputs + (outputs if bias else 0)
