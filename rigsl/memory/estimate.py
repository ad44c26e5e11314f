"""From the stages of a model to the most bytes that are alive at one time."""

from __future__ import annotations

from collections.abc import Sequence

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.errors import UserError
from rigsl.memory.model import model_stages
from rigsl.memory.shapes import Load, Shapes
from rigsl.memory.stage import Sizes, Stage
from rigsl.training.evaluation import evaluation_batch

#: Bytes of a number.
WORD = 4
#: cuBLAS takes one for the thread of the forward and one for that of the backward pass (32 MiB on Hopper).
CUBLAS_WORKSPACES = 2 * 32 * 2**20


def estimate_peak_bytes(config: RIGSLConfig, shapes: Shapes, *, device: str = "cpu") -> int:
    """Most bytes of tensors alive at one time in a training of `config`, validation included.

    Counted are the weights, their gradients, Adam's two numbers each, averaged and best weights, the batch
    (on CUDA all features of the corpus, too), what is kept for the backward pass of the fullest batch, and
    what comes and goes beside it. Not counted: the process with its libraries, CUDA's context, and what
    the allocator loses.

    Raises:
        UserError: the corpus lacks a modality of the configuration.
    """
    if missing := [letter for letter in config.modals if letter not in shapes.features]:
        raise UserError(
            f"modals = '{config.modals}': the corpus has no modality '{missing[0]}', "
            f"only '{''.join(shapes.features)}'"
        )
    cuda = device.startswith("cuda")
    weights, peak = 0, 0.0
    for load in shapes.training_loads(config.batch_size):
        stages = model_stages(Sizes(config, shapes.schema, load, cuda=cuda, training=True))
        weights = sum(stage.weights * stage.layers for stage in stages)
        peak = max(peak, _batch(config, shapes.schema, load) + _training_peak(stages, weights))
    by_length = not config.official_quirks
    for load in shapes.validation_loads(evaluation_batch(config), by_length=by_length):
        stages = model_stages(Sizes(config, shapes.schema, load, cuda=cuda, training=False))
        peak = max(peak, weights + _batch(config, shapes.schema, load) + _inference_peak(stages))
    peak = max(peak, 2 * weights)  # gradients, and new best weights while the old ones are still there
    copies = 3 if config.ema else 2  # the weights, their running mean, the best ones
    projection = config.nb_features_dim * config.hidden_dim if config.use_igr else 0
    states = copies * (weights + projection) + 2 * weights
    resident = sum(shapes.features[letter] for letter in config.modals) + CUBLAS_WORKSPACES if cuda else 0
    return int(WORD * (states + peak)) + resident


def _training_peak(stages: Sequence[Stage], weights: int) -> float:
    """Most numbers alive in the forward and backward pass, beside weights, optimiser and batch."""
    peak = before = 0.0
    for stage in stages:  # the last step's gradients are still there in the forward pass
        earlier = (stage.layers - 1) * stage.saved
        peak = max(peak, weights + before + earlier + stage.forward)
        before += stage.layers * stage.saved
    gradients = 0
    for stage in reversed(stages):
        before -= stage.layers * stage.saved
        # What is kept shrinks and gradients grow from layer to layer: one of the two ends is the fullest.
        ends = (stage.layers - 1) * max(stage.saved, stage.weights)
        peak = max(peak, before + stage.backward + gradients + ends)
        gradients += stage.layers * stage.weights
    return peak


def _inference_peak(stages: Sequence[Stage]) -> float:
    """Most numbers alive in a forward pass without gradients, beside weights and batch."""
    peak = before = 0.0
    for stage in stages:
        peak = max(peak, before + stage.inference)
        before += stage.output
    return peak


def _batch(config: RIGSLConfig, schema: Schema, load: Load) -> float:
    """Numbers in a batch and in the one before it, which lives until the new one is there."""
    views = {"l": schema.text_views}
    width = sum(schema.widths[letter] * views.get(letter, 1) for letter in config.modals)
    indices = 2 * (3 + 2 * 5)  # of 64 bits: label, speaker, slot, and two packings
    return (load.utterances + load.previous) * (width + indices)
