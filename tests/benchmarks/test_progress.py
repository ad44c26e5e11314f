"""Progress counts optimiser steps, their length, and how far averaged weights lag behind."""

import numpy as np
import pytest

from benchmarks.efficiency.progress import LEARNING_RATE_POWER, Pace
from rigsl.config import RIGSLConfig


def test_large_batches_small_steps_and_averaged_weights_start_slowly() -> None:
    quick = RIGSLConfig(batch_size=8, lr=1e-3, epochs=12)
    slower = [quick.replace(batch_size=32), quick.replace(lr=3e-4), quick.replace(ema=0.99)]
    start = Pace.of(quick, 1038).progress([1])[0]
    assert all(Pace.of(config, 1038).progress([1])[0] < start / 2 for config in slower)


@pytest.mark.parametrize("ema", [0.0, 0.5, 0.99])
def test_the_progress_of_averaged_weights_is_that_of_their_mean_step(ema: float) -> None:
    """The average starts as the first step's weights, and moves by a share of 1 - ema with each step."""
    pace = Pace(epochs=4, steps=5, lr=1e-3, ema=ema)
    mean_steps, mean = [], 1.0
    for step in range(1, 21):
        mean = step if step == 1 else ema * mean + (1 - ema) * step
        mean_steps.append(mean)
    expected = np.array(mean_steps[4::5]) * 1e-3**LEARNING_RATE_POWER
    np.testing.assert_allclose(pace.progress([1, 2, 3, 4]), expected, rtol=1e-9)
