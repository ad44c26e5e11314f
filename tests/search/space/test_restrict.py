"""Values taken out of a choice are gone from the space, its start points and its text."""

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.space.restrict import without_values
from search.space.space import Space, read_space

CHOICE = """
[space.precision]
type = "choice"
values = ["bf16", "tf32", "fp32"]
"""
START = '\n[[start]]\nprecision = "bf16"\nlr = 1e-3\n\n[[start]]\nprecision = "fp32"\nlr = 2e-3\n'
LR = '\n[space.lr]\ntype = "float"\nlow = 1e-4\nhigh = 1e-2\n'
STUDY = '[study]\ndataset = "MELD"\nfeatures = "open"\n'


def read(path: Path, text: str) -> Space:
    path.write_text(text, encoding="utf-8")
    return read_space(path)


def test_a_value_is_gone_and_start_points_take_the_first_one_left(tmp_path: Path) -> None:
    whole = read(tmp_path / "space.toml", STUDY + CHOICE + LR + START)
    less = without_values(whole, "precision", {"bf16"}, "without bf16: it is slow")
    assert less.parameters["precision"].values == ("tf32", "fp32")
    assert [start["precision"] for start in less.starts] == ["tf32", "fp32"]
    assert list(less.parameters) == ["precision", "lr"]
    assert less.parameters["lr"] == whole.parameters["lr"]
    assert (less.path, less.content_hash != whole.content_hash) == (whole.path, True)
    assert less.text.startswith("# without bf16: it is slow\n")
    assert read(tmp_path / "copy.toml", less.text).parameters == less.parameters


def test_a_condition_on_such_a_value_is_refused(tmp_path: Path) -> None:
    whole = read(tmp_path / "space.toml", STUDY + CHOICE + LR + 'when = { precision = "bf16" }\n')
    with pytest.raises(UserError) as refused:
        without_values(whole, "precision", {"bf16"}, "it is slow")
    assert str(refused.value) == (
        f"{whole.path}: [space.lr].when: needs precision = 'bf16', which is not searched: it is slow"
    )


def test_a_condition_on_other_values_stays(tmp_path: Path) -> None:
    whole = read(tmp_path / "space.toml", STUDY + CHOICE + LR + 'when = { precision = "fp32" }\n')
    less = without_values(whole, "precision", {"bf16"}, "it is slow")
    assert less.parameters["lr"].when == {"precision": ("fp32",)}


def test_a_prior_on_such_a_value_is_gone_and_others_stay(tmp_path: Path) -> None:
    prior = 'prior = "bf16"\nconfidence = "high"\n'
    whole = read(tmp_path / "space.toml", STUDY + CHOICE + prior + LR + "prior = 1e-3\n")
    less = without_values(whole, "precision", {"bf16"}, "it is slow")
    assert less.parameters["precision"].prior is None
    assert less.parameters["lr"].prior == whole.parameters["lr"].prior is not None
    other = without_values(whole, "precision", {"tf32"}, "it is coarse")
    assert other.parameters["precision"].prior == whole.parameters["precision"].prior is not None
