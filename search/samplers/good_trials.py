"""How many trials of a study count as good: for the narrowed space, and for the report."""

from __future__ import annotations

import math

#: The share of the trials with a score that count as good: the best ones.
GOOD_SHARE = 0.2
#: The narrowed space and the report draw conclusions from so many good trials at least, and so many in all.
MIN_GOOD, MIN_SCORED = 5, 10


def good_count(scored: int) -> int:
    """How many of the `scored` trials count as good where conclusions are drawn from them."""
    return max(MIN_GOOD, math.ceil(GOOD_SHARE * scored))
