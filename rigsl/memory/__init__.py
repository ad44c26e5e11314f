"""How much memory a training will take at its peak, from shapes alone: nothing is built or run.

The model is a sequence of stages, in the order of its forward pass. Each stage says how many numbers it keeps
for its backward pass, and how many are alive at its peak: forwards, backwards, and without gradients. What
autograd keeps was derived from the code of the model, operation by operation, and checked against measured
allocations (``python -m benchmarks.speed.memory``). A change of the model's operations needs a change of its
stage here.

estimate     `estimate_peak_bytes`: the stages -> the peak
seconds      `estimate_epoch_seconds`: how long an epoch takes, in comparison with other configurations
shapes       `Shapes`: what the estimates need to know about a corpus
stage        a stage, and the sizes of tensors that it is made of
model        the stages of the whole model; the registry of the backbones' stages
encoder, cgs, mmgcn, nodeformer   the stages of these parts of ``rigsl/model``
"""

from rigsl.memory.estimate import estimate_peak_bytes
from rigsl.memory.seconds import estimate_epoch_seconds
from rigsl.memory.shapes import Shapes

__all__ = ["Shapes", "estimate_epoch_seconds", "estimate_peak_bytes"]
