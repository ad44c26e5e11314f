"""Plotly figures for a page: one look, as wide as the page, self-contained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io

from search.confirm.bootstrap import Interval
from search.report.html import text
from search.report.style import FONT, GREY, INK

_CONFIG = {"responsive": True, "displayModeBar": False, "displaylogo": False}


def chart(
    figure: go.Figure, label: str, *, height: int = 360, width: int = 0, caption: str = "", bare: bool = False
) -> str:
    """The figure as HTML; on a page narrower than `width` it scrolls by itself.

    Args:
        figure: gets the look of all figures.
        label: what it shows, for screen readers.
        height: in pixels.
        width: minimum, in pixels; 0: none.
        caption: below the figure.
        bare: without a legend and the space for it.
    """
    apply_style(figure)
    if bare:
        figure.update_layout(margin_t=8, showlegend=False)
    inner = plotly.io.to_html(
        figure,
        config=_CONFIG,
        full_html=False,
        include_plotlyjs=False,
        default_width="100%",
        default_height=f"{height}px",
    )
    min_width = f' style="min-width:{width}px"' if width else ""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    image = f'<div class="scroll" role="img" aria-label="{text(label)}"><div{min_width}>{inner}</div></div>'
    return f"<figure>{image}{below}</figure>"


def error_bar(mean: float, interval: Interval | None, colour: str, **style: Any) -> dict[str, Any] | None:
    """The horizontal error bar from a mean to the bounds of its interval, in percent; None: no interval."""
    if interval is None:
        return None
    above, below = 100 * (interval.high - mean), 100 * (mean - interval.low)
    lengths = {"array": [above], "arrayminus": [below]}
    return {"type": "data", "symmetric": False, **lengths, "color": colour, **style}


def in_percent(values: Sequence[float]) -> list[float]:
    """Fractions in percent."""
    return [100 * value for value in values]


def apply_style(figure: go.Figure) -> go.Figure:
    """Dark text on white, thin lines, the legend on top; the title is in the page, not in the figure."""
    axis: dict[str, Any] = {
        "gridcolor": "#ececec",
        "linecolor": GREY,
        "zerolinecolor": "#ececec",
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 13}},
        "tickfont": {"size": 12},
    }
    figure.update_layout(
        title=None,
        template="none",
        autosize=True,
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="#fff",
        plot_bgcolor="#fff",
        margin={"l": 56, "r": 14, "t": 34, "b": 46},
        legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"},
        hoverlabel={"font": {"family": FONT}},
        dragmode=False,
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
