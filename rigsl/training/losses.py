"""The task loss and the total loss of RIGSL (docs/model.md, section 5)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rigsl.config import RIGSLConfig

_EXPONENT = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0}


def class_weights(labels: NDArray[np.int64], classes: int, kind: str) -> Tensor:
    """1 / frequency^(0, 1/2 or 1) of each class among `labels`, for kind "none", "sqrt" or "inverse".

    A class that never occurs counts as if it occurred once. Shapes: [U] -> [classes]
    """
    counts = np.bincount(labels, minlength=classes)
    frequency = np.maximum(counts, 1) / max(len(labels), 1)
    return torch.tensor(frequency ** -_EXPONENT[kind], dtype=torch.float32)


def task_loss(log_prob: Tensor, label: Tensor, weight: Tensor, focal_gamma: float) -> Tensor:
    """Loss of the predicted log-probabilities.

    focal_gamma = 0: weighted negative log-likelihood, sum w_y nll / sum w_y (official for IEMOCAP); otherwise
    the focal loss, mean of -(1 - p)^focal_gamma w_y log p with p detached (official for MELD).

    Shapes: log_prob [U, classes], label [U], weight [classes] -> scalar
    """
    picked = log_prob.gather(1, label[:, None]).squeeze(1)
    weights = weight[label]
    if focal_gamma == 0:
        return -(weights * picked).sum() / weights.sum()
    focus = (1 - picked.detach().exp()).clamp_min(0) ** focal_gamma
    return -(focus * weights * picked).mean()


def link_factor(config: RIGSLConfig, epoch: int) -> float:
    """Weight of the link loss in epoch `epoch` (0-based), which decays linearly to 0 over link_loss_epoch."""
    if epoch >= config.link_loss_epoch:
        return 0.0
    return config.link_loss_coff * (config.link_loss_epoch - epoch) / config.link_loss_epoch
