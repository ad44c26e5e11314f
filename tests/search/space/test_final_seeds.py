"""Seeds of the final stage: valid, distinct from each other and from the search, stable for old studies."""

import pytest

from rigsl.config import RIGSLConfig
from search.space.confirmation import FinalOptions
from search.space.final_seeds import CONSECUTIVE, HASHED, LIMIT, final_seeds


@pytest.mark.parametrize("derivation", [HASHED, CONSECUTIVE])
@pytest.mark.parametrize("seed", [0, 7, 2147482, 2147483, 20260101, LIMIT - 1])
@pytest.mark.parametrize(("finalist_seeds", "test_seeds"), [(3, 5), (1, 0), (600, 700)])
def test_seeds_are_valid_and_none_is_used_twice(
    derivation: str, seed: int, finalist_seeds: int, test_seeds: int
) -> None:
    seeds = final_seeds(seed, FinalOptions(finalist_seeds=finalist_seeds, test_seeds=test_seeds), derivation)
    assert (len(seeds.finalists), len(seeds.tests)) == (finalist_seeds, test_seeds)
    numbers = [seed, *seeds.finalists, *seeds.tests]
    assert len(set(numbers)) == len(numbers)
    for number in (min(numbers), max(numbers)):
        assert RIGSLConfig(seed=number).seed == number


def test_more_seeds_begin_with_those_that_were_trained() -> None:
    few = final_seeds(3, FinalOptions(finalist_seeds=2, test_seeds=2))
    many = final_seeds(3, FinalOptions(finalist_seeds=9, test_seeds=9))
    assert many.finalists[:2] == few.finalists
    assert many.tests[:2] == few.tests


def test_a_study_of_version_0_1_0_keeps_its_seeds() -> None:
    seeds = final_seeds(3, FinalOptions(finalist_seeds=2, test_seeds=2), CONSECUTIVE)
    assert seeds == ([4001, 4002], [4501, 4502])
