"""How long an epoch of training takes, in comparison with other configurations.

In small models every layer of every step costs its kernel launches, and every number that is kept for the
backward pass costs its arithmetic, forwards and backwards. The two constants were measured on one core of an
AMD EPYC; with them the estimate explains the seconds of 174 random configurations up to a factor of 1.09
(tests/rigsl/memory/test_estimate.py). Other machines are faster or slower as a whole, which does not change
a comparison.
"""

from __future__ import annotations

import math
from statistics import mean

from rigsl.config import RIGSLConfig
from rigsl.memory.model import model_stages
from rigsl.memory.shapes import Shapes
from rigsl.memory.stage import Sizes

#: Seconds of the launches of a layer in one step, and of a number that it keeps.
SECONDS_PER_LAYER, SECONDS_PER_NUMBER = 2.1e-3, 3.5e-9
#: How many numbers a GPU computes in the time of one on a CPU core; its launches come from the CPU as well.
GPU_SPEEDUP = 50


def estimate_epoch_seconds(config: RIGSLConfig, shapes: Shapes, *, device: str = "cpu") -> float:
    """Seconds of a training epoch on one core, or with one GPU; the same in every process and run."""
    cuda = device.startswith("cuda")
    steps = math.ceil(len(shapes.lengths) / config.batch_size)
    batches = [
        model_stages(Sizes(config, shapes.schema, batch, cuda=cuda, training=True))
        for batch in shapes.training_batches(config.batch_size)
    ]
    layers = sum(stage.layers for stage in batches[0])
    saved = mean(sum(stage.layers * stage.saved for stage in stages) for stages in batches)
    return steps * (SECONDS_PER_LAYER * layers + SECONDS_PER_NUMBER * saved / (GPU_SPEEDUP if cuda else 1))
