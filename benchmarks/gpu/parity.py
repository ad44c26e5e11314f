"""Numbers on a GPU: those of the official code, those of the CPU, and twice the same.

Tolerances are absolute, of log-probabilities of the classes, after the same steps with the same noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.corpora import meld_dialogues, synthetic_corpus
from benchmarks.gpu.context import Context
from benchmarks.gpu.golden import (
    ATOL,
    RTOL,
    computed_model,
    computed_softmax,
    recorded_files,
    recorded_model,
)
from benchmarks.gpu.noise import noise_from_cpu
from benchmarks.gpu.results import Row
from rigsl.config import BACKBONES, SPARSIFIERS, RIGSLConfig
from rigsl.data.batches import shuffled_batches
from rigsl.data.corpus import Corpus
from rigsl.device import cores, threads
from rigsl.model import encoder, linear
from rigsl.training.evaluation import predict
from rigsl.training.losses import link_factor
from rigsl.training.trainer import Training
from rigsl.wording import counted

LogProb = NDArray[np.float32]

#: Tolerances of the CPU against the device after one step, and after the last: the largest difference, and
#: the mean one. Adam divides a gradient by its own size, so that a rounding error of a small one grows.
FIRST, LAST = (1e-4, 1e-5), (1e-2, 5e-4)
#: Threads of the CPU's steps; with more of them, small steps get slower.
CPU_THREADS = 8
#: Steps, of a run that is not quick.
STEPS = 20
#: Utterances of a long dialogue, and the past and future ones that each of them sees.
LONG, WINDOW = 300, 10
#: Steps of long dialogues, of a run that is not quick.
LONG_STEPS = 6
#: The mean difference to float32 on the same device, after the last of these steps.
TF32_TOLERANCE, BF16_TOLERANCE = 5e-3, 2e-2


def rows(context: Context) -> Iterator[Row]:
    """All rows of this part."""
    yield from _golden(context)
    corpus = meld_dialogues(context.choose(64, 12), validation=context.choose(16, 4))
    for name, config in variants(context.quick):
        yield from _against_cpu(name, config, corpus, context)
    config = _config("M3Net", "hard_concrete", context.quick)
    yield from _lower_precision(config, corpus, context)
    for name, config in variants(context.quick):
        yield _twice(name, config, corpus, context)
    config = _config("M3Net", "hard_concrete", context.quick)
    for name, changes in (("bf16", {"precision": "bf16"}), ("LSTM", {"base_model": "LSTM"})):
        yield _twice(f"M3Net, {name}", config.replace(**changes), corpus, context)
    corpus = long_dialogues()
    for name, config in variants(context.quick):
        if config.sparsifier == "hard_concrete" and (config.backbone == "GCN" or not context.quick):
            config = config.replace(hidden_dim=32, windowp=WINDOW, windowf=WINDOW, batch_size=2)
            name = f"dialogues of {LONG} utterances, {name}"
            yield from _against_cpu(name, config, corpus, context, last=LONG_STEPS)
            yield _twice(name, config, corpus, context)


def variants(quick: bool) -> Iterator[tuple[str, RIGSLConfig]]:
    """Every backbone with every sparsifier; MMGCN has no edges to remove."""
    for backbone in BACKBONES:
        for sparsifier in SPARSIFIERS if backbone != "MMGCN" else SPARSIFIERS[:1]:
            name = backbone if backbone == "MMGCN" else f"{backbone}, {sparsifier}"
            yield name, _config(backbone, sparsifier, quick)


def long_dialogues() -> Corpus:
    """Dialogues so long that the model takes lists of edges where it has windows."""
    return synthetic_corpus([LONG] * 4, {"l": 64, "a": 20, "v": 20}, validation=1)


def _config(backbone: str, sparsifier: str, quick: bool) -> RIGSLConfig:
    return RIGSLConfig(
        modals="lav",
        hidden_dim=32 if quick else 128,
        backbone=backbone,
        sparsifier=sparsifier,
        num_L=2,
        num_K=1 if quick else 2,
        nodeformer_heads=2 if quick else 4,
        nb_features_dim=16 if quick else 64,
        gumbel_k=4,
        batch_size=4 if quick else 16,
        dropout=0.0,  # so that all noise can be drawn on the CPU
        epochs=2,
    )


def _golden(context: Context) -> Iterator[Row]:
    """The recorded numbers of the official code, outputs and gradients."""
    found = list(recorded_files(context.golden))
    if not found:
        yield Row("recorded numbers", note=f"skipped: there is no .npz file in {context.golden}")
    for name, tensors, config in found:
        if config is not None:
            recorded = recorded_model(tensors, config)
            expected, computed = recorded.numbers, computed_model(recorded, context.device)
        elif "exponential_noise" in tensors:
            computed = computed_softmax(tensors, context.device)
            expected = {key: tensors[key] for key in computed}
        else:
            continue
        difference = max(float((computed[key] - value).abs().max()) for key, value in expected.items())
        met = all(torch.allclose(computed[key], value, RTOL, ATOL) for key, value in expected.items())
        values = {"largest difference": f"{difference:.1e}", "tolerance": f"{ATOL:g} + {RTOL:g} of it"}
        yield Row(f"official code, {name}", values, met)


def _against_cpu(
    name: str, config: RIGSLConfig, corpus: Corpus, context: Context, last: int = STEPS
) -> Iterator[Row]:
    """The same steps with the same noise on the CPU and on the device."""
    steps = (1, context.choose(last, 4))
    with threads(min(cores(), CPU_THREADS)):
        on_cpu = _after_steps(config, corpus, "cpu", steps)
    standing_in: AbstractContextManager[None] = nullcontext() if context.cuda else other_operations()
    with standing_in:
        on_device = _after_steps(config, corpus, context.device, steps)
    note = "" if context.cuda else "stand-in: the CPU with PyTorch's own products and recurrent networks"
    for step, expected, computed in zip(steps, on_cpu, on_device, strict=True):
        largest, mean = FIRST if step == 1 else LAST
        difference = np.abs(expected - computed)
        met = bool(difference.max() <= largest and difference.mean() <= mean)
        values = {
            "largest difference": f"{difference.max():.1e}",
            "tolerance": f"{largest:g}",
            "mean difference": f"{difference.mean():.1e}",
            "of the mean": f"{mean:g}",
        }
        yield Row(f"CPU, {name}, {counted(step, 'step')}", values, met, note)


def _after_steps(config: RIGSLConfig, corpus: Corpus, device: str, steps: Sequence[int]) -> list[LogProb]:
    """The log-probabilities of all utterances after each of these numbers of steps."""
    found: list[LogProb] = []
    done = 0
    with noise_from_cpu(seed=0):
        training = Training(config, corpus, device=device)
        order = torch.Generator().manual_seed(0)
        while done < max(steps):
            for batch in shuffled_batches(
                corpus.lengths, corpus.dialogues("train"), config.batch_size, order
            ):
                training.model.train()
                training.train_on(batch, link_factor(config, 0))
                done += 1
                if done in steps:
                    found.append(predict(training.model, corpus, device=device))
                if done == max(steps):
                    break
    return found


def _lower_precision(config: RIGSLConfig, corpus: Corpus, context: Context) -> Iterator[Row]:
    """TF32 and bfloat16 against float32 on the same device."""
    steps = (context.choose(STEPS, 4),)
    full = _after_steps(config, corpus, context.device, steps)[0]
    for precision, tolerance in (("tf32", TF32_TOLERANCE), ("bf16", BF16_TOLERANCE)):
        if precision == "tf32" and not context.cuda:
            yield Row("TF32 against float32", note="skipped: the CPU has no TF32")
            continue
        other = _after_steps(config.replace(precision=precision), corpus, context.device, steps)[0]
        difference = np.abs(full - other)
        values = {
            "largest difference": f"{difference.max():.1e}",
            "mean difference": f"{difference.mean():.1e}",
            "of the mean": f"{tolerance:g}, and not 0",
        }
        name = f"{precision} against float32, {steps[0]} steps"
        yield Row(name, values, bool(0 < difference.mean() <= tolerance))


def _twice(name: str, config: RIGSLConfig, corpus: Corpus, context: Context) -> Row:
    """Two trainings with `deterministic`, with all their own noise, are equal bit for bit."""
    config = config.replace(deterministic=True, dropout=0.3)
    first, second = (_trained(config, corpus, context.device) for _ in range(2))
    difference = max(
        float((first[key].double() - second[key].double()).abs().max()) for key in first if first[key].numel()
    )
    equal = all(torch.equal(first[key], second[key]) for key in first)
    values = {"largest difference": f"{difference:g}", "tolerance": "0"}
    return Row(f"deterministic twice, {name}", values, equal)


def _trained(config: RIGSLConfig, corpus: Corpus, device: str) -> dict[str, torch.Tensor]:
    """The weights and the scores of a training."""
    training = Training(config, corpus, device=device)
    scores = []
    while not training.done:
        report = training.step()
        scores += [report.train_loss, report.validation.loss, report.validation.weighted_f1]
    weights = {key: value.detach().cpu().clone() for key, value in training.model.state_dict().items()}
    return weights | {"scores": torch.tensor(scores, dtype=torch.float64)}


@contextmanager
def other_operations() -> Iterator[None]:
    """A stand-in for another device: the operations that the model uses on a GPU, on the CPU."""

    def one_by_one(networks, inputs, packings):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """PyTorch's own loop over the time steps."""
        triples = zip(networks, inputs, packings, strict=True)
        return [packing.unpack(network(packing.pack(rows))[0]) for network, rows, packing in triples]

    with (
        patch.object(linear, "MIN_WEIGHT_SIZE", float("inf")),
        patch.object(encoder, "bidirectional", one_by_one),
    ):
        yield
