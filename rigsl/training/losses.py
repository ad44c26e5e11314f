"""The task loss of RIGSL, what a teacher adds to it, and the weights of both (docs/model.md, section 5)."""

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


def taught_loss(task: Tensor, log_prob: Tensor, target: Tensor, weight: float, temperature: float) -> Tensor:
    """(1 - weight) task + weight T^2 (cross entropy of target and prediction, both at temperature T).

    Hinton, Vinyals and Dean (2015), section 2: at temperature T, probabilities are softmax(log p / T); T^2
    keeps the size of the gradient. The cross entropy is the mean over the utterances that have a target,
    without class weights. `task` is the loss of all utterances of the batch: those without a target count in
    it, with the factor 1 - weight like the others, and in nothing else. A batch in which none has a target
    costs `task`.

    Nothing here waits for a GPU: how many utterances have a target is not read.

    Args:
        target: log-probabilities, NaN in rows without a target.

    Shapes: task scalar, log_prob [U, classes], target [U, classes] -> scalar
    """
    taught = ~target[:, :1].isnan()
    probability = (target.where(taught, 0.0) / temperature).softmax(dim=1) * taught
    surprise = (log_prob / temperature).log_softmax(dim=1)
    count = taught.sum()
    teaching = -(temperature**2) * (probability * surprise).sum() / count.clamp_min(1)
    return torch.where(count > 0, (1 - weight) * task + weight * teaching, task)


def link_factor(config: RIGSLConfig, epoch: int) -> float:
    """Weight of the link loss in epoch `epoch` (0-based), which decays linearly to 0 over link_loss_epoch."""
    if epoch >= config.link_loss_epoch:
        return 0.0
    return config.link_loss_coff * (config.link_loss_epoch - epoch) / config.link_loss_epoch
