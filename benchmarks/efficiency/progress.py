"""How far a training has come, in comparable units: prior knowledge of how fast configurations start.

An epoch of large batches has few optimiser steps, a small learning rate makes small ones, and averaged
weights (an exponential moving average) lag behind: by 1 / (1 - decay) steps in the long run. Such trainings
start slowly, and may end best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rigsl.config import RIGSLConfig

#: Progress grows with the learning rate to this power: Adam's steps are as long as it, but reach less far.
LEARNING_RATE_POWER = 0.9


@dataclass(frozen=True)
class Pace:
    """What the speed of a training depends on."""

    epochs: int  #: of the whole training
    steps: int  #: of the optimiser in an epoch
    lr: float  #: learning rate
    ema: float  #: decay of the average of the weights; 0: they are not averaged

    @classmethod
    def of(cls, config: RIGSLConfig, examples: int) -> Pace:
        """The pace of a configuration's training on so many examples."""
        return cls(config.epochs, math.ceil(examples / config.batch_size), config.lr, config.ema)

    def progress(self, epochs: Sequence[int]) -> NDArray[np.float64]:
        """Progress after each of `epochs`: mean step of the weights times the learning rate's power. [n]"""
        steps = np.asarray(epochs, dtype=np.float64) * self.steps
        # The average begins as a copy of the first step's weights, and its mean age tends to ema / (1 - ema).
        lag = self.ema / (1 - self.ema) * (1 - self.ema ** np.maximum(steps - 1, 0))
        return np.asarray((steps - lag) * self.lr**LEARNING_RATE_POWER)
