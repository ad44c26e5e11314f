"""Names in pictures are names."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

from rigsl.pictures import drawing


def test_a_dollar_sign_begins_no_formula() -> None:
    before = mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]
    with drawing(font__size=7):
        assert mpl.rcParams["font.size"] == 7
        figure = Figure()
        axes = figure.subplots()
        axes.set_yticks([0, 1], ["$\\frac{$", "a$b$c"])
        axes.set_title("$_$")
        figure.savefig(io.BytesIO(), format="png")
    assert before == (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"])
