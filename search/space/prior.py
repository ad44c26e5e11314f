"""What is believed about a parameter before a search: where its best value lies, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rigsl.errors import UserError

#: As in NePS (Mallik et al., PriorBand, NeurIPS 2023).
CONFIDENCES = ("low", "medium", "high")
DEFAULT_CONFIDENCE = "low"


@dataclass(frozen=True)
class Prior:
    """The best value of a parameter is believed to lie near `value`.

    Raises:
        UserError: `confidence` is not one of CONFIDENCES.
    """

    value: Any
    confidence: str = DEFAULT_CONFIDENCE

    def __post_init__(self) -> None:
        if self.confidence not in CONFIDENCES:
            raise UserError(f"{self.confidence!r} is not one of {', '.join(CONFIDENCES)}")

    def describe(self) -> str:
        """``0.001 (medium)``."""
        value = f"{self.value:g}" if isinstance(self.value, float) else repr(self.value)
        return f"{value} ({self.confidence})"
