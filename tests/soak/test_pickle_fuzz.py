"""100,000 mutated feature pickles: no crash, no code, one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigsl.data.test_pickles import read_mutated


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_mutated_pickles_are_values_or_sentences(tmp_path: Path, seed: int) -> None:
    read_mutated(tmp_path, 1000 + seed, 10_000)
