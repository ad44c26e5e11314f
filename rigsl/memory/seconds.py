"""How long an epoch of training takes, in comparison with those of other configurations.

On small models every layer of every step costs its calls, and every number that is kept for the backward
pass its arithmetic, both ways. The two constants were measured on one core of an AMD EPYC; with them the
estimate explains the seconds of 174 random configurations but for a factor of 1.09 (tests/rigsl/test_memory).
Other machines are faster or slower altogether, which no comparison notices.
"""

from __future__ import annotations

import math
from statistics import mean

from rigsl.config import RIGSLConfig
from rigsl.memory.model import model_stages
from rigsl.memory.shapes import Shapes
from rigsl.memory.stage import Sizes

#: Seconds of a layer's calls in one step, and of a number that it keeps.
LAYER, NUMBER = 2.1e-3, 3.5e-9
#: A GPU computes so many numbers in the time of one on a core; its calls come from the CPU as well.
PARALLEL = 50


def estimate_epoch_seconds(config: RIGSLConfig, shapes: Shapes, *, device: str = "cpu") -> float:
    """The seconds of a training epoch on one core, or beside a GPU; the same in every process and run."""
    cuda = device.startswith("cuda")
    steps = math.ceil(len(shapes.lengths) / config.batch_size)
    batches = [
        model_stages(Sizes(config, shapes.schema, load, cuda=cuda, training=True))
        for load in shapes.training_loads(config.batch_size)
    ]
    layers = sum(stage.layers for stage in batches[0])
    kept = mean(sum(stage.layers * stage.saved for stage in stages) for stages in batches)
    return steps * (LAYER * layers + NUMBER * kept / (PARALLEL if cuda else 1))
