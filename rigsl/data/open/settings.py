"""The settings of a cross-fitted fine-tuning."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rigsl.errors import UserError


def _setting(default: float, help: str, low: float, high: float) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclass(frozen=True)
class FineTuning:
    """The settings of a cross-fitted fine-tuning.

    Raises:
        UserError: a setting is too small or too large.
    """

    folds: int = _setting(5, "folds of train: each encoder learns from all folds but one", 2, 1000)
    repeats: int = _setting(2, "how often train is cut into folds, each time in another way", 1, 1000)
    epochs: int = _setting(3, "epochs of each encoder", 1, 10_000)
    rank: int = _setting(16, "rank of the adapters of an encoder's linear layers", 1, 4096)
    lr: float = _setting(1e-3, "learning rate of AdamW", 1e-9, 1.0)
    batch_size: int = _setting(32, "utterances in a batch", 1, 1_000_000)
    context: int = _setting(0, "preceding utterances in the same input", 0, 1_000_000)
    balance: float = _setting(
        0.0, "exponent p of the class weights, frequency ** -p: 0 none, 0.5 square root, 1 inverse", 0.0, 10.0
    )
    seed: int = _setting(0, "seed of folds and encoders", 0, 2**32 - 1)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            low, high = setting.metadata["low"], setting.metadata["high"]
            if not value >= low:
                raise UserError(f"{setting.name} of the fine-tuning is {value}; its minimum is {low}")
            if value > high:
                raise UserError(f"{setting.name} of the fine-tuning is {value}; its maximum is {high}")

    def key(self, **more: Any) -> str:
        """A digest of all settings and of `more`, a JSON-able dict: what a saved state belongs to."""
        text = json.dumps(asdict(self) | more, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
