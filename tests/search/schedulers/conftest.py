"""The toy space, its corpus, and a study with four trials."""

from pathlib import Path

import pytest

from rigsl.data.corpus import Corpus
from search.space.space import Space, read_space
from tests.helpers.toy_study import make_corpus
from tests.search.schedulers.toy_population import SPACE, ToyStudy


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    return read_space(tmp_path / "space.toml")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus()


@pytest.fixture
def toy(space: Space) -> ToyStudy:
    """Four trials; three have reported epoch 2, the best is number 1."""
    study = ToyStudy(space)
    for _ in range(4):
        study.start()
    for number, score in ((0, 0.3), (1, 0.5), (2, 0.4)):
        study.report(number, 1, score / 2)
        assert not study.report(number, 2, score), "fewer trials than a population are there"
    return study
