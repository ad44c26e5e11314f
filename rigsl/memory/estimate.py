"""Peak memory: the maximum number of bytes alive at one time, from the stages of a model."""

from __future__ import annotations

from collections.abc import Sequence

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Schema
from rigsl.memory.model import model_stages
from rigsl.memory.shapes import BatchShape, Shapes
from rigsl.memory.stage import Sizes, Stage
from rigsl.modalities import TEXT, check_modals
from rigsl.training.evaluation import evaluation_batch

#: Bytes of a number.
WORD = 4
#: cuBLAS takes one for the thread of the forward pass and one for that of the backward pass, cuBLASLt a third
#: one (32 MiB each on Hopper; docs/gpu.md).
CUBLAS_WORKSPACES = 3 * 32 * 2**20


def estimate_peak_bytes(config: RIGSLConfig, shapes: Shapes, *, device: str = "cpu") -> int:
    """Maximum bytes of tensors alive at one time in a training of `config`, validation included.

    It counts the weights, their gradients, Adam's two moments, averaged and best weights, the batch (on CUDA
    also all features of the corpus), what is kept for the backward pass of the largest batch, and temporary
    results. It does not count the process with its libraries, CUDA's context, and what the allocator wastes.

    Raises:
        UserError: the corpus lacks a modality of the configuration.
    """
    check_modals(config.modals, shapes.features, "the corpus")
    cuda = device.startswith("cuda")
    weights, peak = 0, 0.0
    for batch in shapes.training_batches(config.batch_size):
        stages = model_stages(Sizes(config, shapes.schema, batch, cuda=cuda, training=True))
        weights = sum(stage.weights * stage.layers for stage in stages)
        peak = max(peak, _batch_size(config, shapes.schema, batch) + _training_peak(stages, weights))
    by_length = not config.official_quirks
    for batch in shapes.validation_batches(evaluation_batch(config), by_length=by_length):
        stages = model_stages(Sizes(config, shapes.schema, batch, cuda=cuda, training=False))
        peak = max(peak, weights + _batch_size(config, shapes.schema, batch) + _inference_peak(stages))
    peak = max(peak, 2 * weights)  # gradients, and new best weights while the old ones still exist
    copies = 3 if config.ema else 2  # the weights, the best weights, and the moving average
    projection = config.nb_features_dim * config.hidden_dim if config.use_igr else 0
    states = copies * (weights + projection) + 2 * weights
    resident = sum(shapes.features[key] for key in config.modalities) + CUBLAS_WORKSPACES if cuda else 0
    return int(WORD * (states + peak)) + resident


def _training_peak(stages: Sequence[Stage], weights: int) -> float:
    """Maximum numbers alive in the forward and backward pass, besides weights, optimiser and batch."""
    peak = before = 0.0
    for stage in stages:  # in the forward pass, the gradients of the last step are still alive
        earlier = (stage.layers - 1) * stage.saved
        peak = max(peak, weights + before + earlier + stage.forward)
        before += stage.layers * stage.saved
    gradients = 0
    for stage in reversed(stages):
        before -= stage.layers * stage.saved
        # From layer to layer, kept results shrink and gradients grow: the peak is at one of the two ends.
        ends = (stage.layers - 1) * max(stage.saved, stage.weights)
        peak = max(peak, before + stage.backward + gradients + ends)
        gradients += stage.layers * stage.weights
    return peak


def _inference_peak(stages: Sequence[Stage]) -> float:
    """Maximum numbers alive in a forward pass without gradients, besides weights and batch."""
    peak = before = 0.0
    for stage in stages:
        peak = max(peak, before + stage.inference)
        before += stage.output
    return peak


def _batch_size(config: RIGSLConfig, schema: Schema, batch: BatchShape) -> float:
    """Numbers in a batch and in the one before it, which is alive until the new one is made."""
    views = {TEXT: schema.text_views}
    width = sum(schema.widths[key] * views.get(key, 1) for key in config.modalities)
    indices = 2 * (3 + 2 * 5)  # of 64 bits: label, speaker, slot, and two packings
    return (batch.utterances + batch.previous) * (width + indices)
