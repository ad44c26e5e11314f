"""Training seeds of the final stage: of its finalists, and of winner and baseline for the test.

No trial, finalist and test share a seed, how many there ever are: finalists have even seeds, tests odd ones,
and the seed of the study, with which its trials are trained, is left out.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from search.space.confirmation import FinalOptions

#: How a study derives its seeds. "hashed": by hashing, in new studies. "consecutive": 1000 (seed + 1) + n, in
#: studies of version 0.1.0, which keep their seeds.
DERIVATIONS = HASHED, CONSECUTIVE = "hashed", "consecutive"
#: Seeds are below this number, as `RIGSLConfig` demands.
LIMIT = 2**31
#: Consecutive seeds of finalists end where those of the tests begin.
MAX_CONSECUTIVE = 500


class FinalSeeds(NamedTuple):
    """The training seeds of the final stage."""

    finalists: list[int]
    tests: list[int]


def final_seeds(seed: int, options: FinalOptions, derivation: str = HASHED) -> FinalSeeds:
    """The training seeds of a study with `seed`.

    Consecutive seeds that would leave the valid range or overlap are derived by hashing: a study that has
    them could never be finished.
    """
    if derivation == CONSECUTIVE:
        first = 1000 * (seed + 1)
        valid = first + 1000 <= LIMIT and max(options.finalist_seeds, options.test_seeds) < MAX_CONSECUTIVE
        if valid:
            return FinalSeeds(
                [first + number for number in range(1, options.finalist_seeds + 1)],
                [first + MAX_CONSECUTIVE + number for number in range(1, options.test_seeds + 1)],
            )
    return FinalSeeds(
        _hashed(seed, "finalist", options.finalist_seeds, odd=False),
        _hashed(seed, "test", options.test_seeds, odd=True),
    )


def _hashed(seed: int, purpose: str, count: int, *, odd: bool) -> list[int]:
    """The first `count` distinct numbers of the hash sequence of `seed` and `purpose`, without `seed`."""
    seeds: dict[int, None] = {}
    number = 0
    while len(seeds) < count:
        digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
        candidate = int.from_bytes(digest[:8], "big") % (LIMIT // 2) * 2 + odd
        number += 1
        if candidate != seed:
            seeds[candidate] = None
    return list(seeds)
