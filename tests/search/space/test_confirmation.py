"""The options of the final stage: checked, and described in words."""

import pytest

from rigsl.errors import UserError
from search.space.confirmation import FinalOptions, read_final


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"finalists": 4, "finalist_seeds": 3, "test_seeds": 5}, "finalists: the best 4 with 3 seeds each; "),
        ({"finalists": 4, "finalist_seeds": 1, "test_seeds": 1}, "finalists: the best 4 with 1 seed each; "),
        ({"finalists": 1, "finalist_seeds": 2}, "finalists: the best with 2 seeds; "),
        ({"finalists": 0}, "finalists: none; "),
        ({"test_seeds": 5}, "; tested once: 5 seeds each of winner and baseline"),
        ({"test_seeds": 1}, "; tested once: 1 seed each of winner and baseline"),
        ({"test_seeds": 0}, "; tested once: one checkpoint"),
        ({"protocol": "paper"}, "; and the best test epoch (optimistic)"),
    ],
)
def test_it_is_described_in_words(options: dict, words: str) -> None:
    assert words in FinalOptions(**options).describe()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"finalists": -1}, "finalists: -1 is not a whole number from 0 up"),
        ({"finalist_seeds": 0}, "finalist_seeds: 0 is not a whole number from 1 up"),
        ({"folds": 1}, "folds: 1 is not possible; give 2 or more, or 0 for scores on dev"),
        ({"folds": 2.5}, "folds: 2.5 is not a whole number from 0 up"),
        ({"teacher_weight": 1.5}, "teacher_weight: 1.5 is not a number from 0 to 1"),
        ({"teacher_temperature": 0}, "teacher_temperature: 0 is not a number from 0.01 to 100"),
        ({"explain": 1}, "explain: 1 is neither true nor false"),
        ({"protocol": "test"}, "protocol: 'test' is not one of validation, paper"),
        (
            {"winners": 1},
            "winners: unknown key; the keys are finalists, finalist_seeds, folds, teacher_weight, "
            "teacher_temperature, test_seeds, protocol, explain",
        ),
        (3, "is not a table"),
    ],
)
def test_a_mistake_is_refused_with_its_place(table: object, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        read_final(table, "space.toml: [final]")
    assert str(refused.value).startswith("space.toml: [final]")
    assert sentence in str(refused.value)
