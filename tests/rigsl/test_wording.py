"""Numbers and nouns, and other errors, in sentences for people."""

import pytest

from rigsl.errors import first_line
from rigsl.wording import counted


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 trials"),
        (1, "1 trial"),
        (2, "2 trials"),
        (1.0, "1 trial"),
        (0.5, "0.5 trials"),
        (1_000_000, "1000000 trials"),
    ],
)
def test_a_noun_is_singular_after_one_only(number: float, words: str) -> None:
    assert counted(number, "trial") == words


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one  \ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (KeyError("name"), "'name'"),
        (
            ValueError("(raised as a result of Query-invoked autoflush; consider ...)\ndisk is full"),
            "disk is full",
        ),
    ],
)
def test_an_error_is_quoted_by_its_first_line(error: Exception, line: str) -> None:
    assert first_line(error).strip() == line


def test_an_error_without_a_message_gives_the_default_and_a_long_one_is_cut() -> None:
    assert first_line(ValueError(), default="no message") == "no message"
    assert first_line(ValueError("no"), default="no message") == "no"
    assert first_line(ValueError(300 * "x"), length=200) == 200 * "x"
