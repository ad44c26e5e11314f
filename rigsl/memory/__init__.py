"""How much memory a training will take at its peak, from shapes alone: nothing is built or run.

The model is a row of stages, in the order of its forward pass. Each says how many numbers it keeps for its
backward pass and how many are alive at its fullest moment: forwards, backwards, and without gradients. What
autograd keeps was derived from the model's code, operation by operation, and checked against recorded
allocations (``python -m benchmarks.speed.memory``). Who changes the model's operations changes its stage
here.

The same shapes tell how long an epoch takes in comparison with others (``seconds``).

One module here for one part of ``rigsl/model``.
"""

from rigsl.memory.estimate import estimate_peak_bytes
from rigsl.memory.seconds import estimate_epoch_seconds
from rigsl.memory.shapes import Shapes

__all__ = ["Shapes", "estimate_epoch_seconds", "estimate_peak_bytes"]
