"""Plotly's figures in a page: one look, as wide as the page, and without anything from elsewhere."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io

from search.report.html import text
from search.report.style import FONT, GREY, INK

_CONFIG = {"responsive": True, "displayModeBar": False, "displaylogo": False}


def chart(
    figure: go.Figure, label: str, *, height: int = 360, width: int = 0, caption: str = "", bare: bool = False
) -> str:
    """The figure as HTML; below `width` pixels it scrolls inside itself.

    Args:
        figure: given this project's look.
        label: what it shows, for those who cannot see it.
        height: in pixels.
        width: the least, in pixels; 0: as narrow as the page.
        caption: below it.
        bare: without room for a legend.
    """
    styled(figure)
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
    least = f' style="min-width:{width}px"' if width else ""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><div class="scroll" role="img" aria-label="{text(label)}"><div{least}>{inner}</div></div>'
        f"{below}</figure>"
    )


def styled(figure: go.Figure) -> go.Figure:
    """Dark text on white, thin lines, the legend above; a title stands in the page, not in the figure."""
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
