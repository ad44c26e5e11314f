"""Sparsity of the learned graph: the share of edges that CGS keeps on validation dialogues."""

from __future__ import annotations

from typing import Any

from rigsl.wording import DASH, counted, percent
from search.report.data import StudyData
from search.report.html import note, table


def content(data: StudyData) -> str:
    """The section."""
    facts: dict[str, Any] = dict(data.graph)
    if not facts:
        return note("There is no exported model.")
    if "problem" in facts:
        return note(f"Not known: {facts['problem']}.")
    if not facts["left"]:
        return note(
            f"The model has no gates that remove edges (backbone {facts['backbone']}, or CGS turned off)."
        )
    edges, layers = facts["edges"], facts["left"]
    total = sum(edges)
    rows = [
        (
            f"layer {number}",
            *(_share(kept, of) for kept, of in zip(layer, edges, strict=True)),
            _share(sum(layer), total),
        )
        for number, layer in enumerate(layers, start=1)
    ]
    summary = (
        f"On {counted(facts['dialogues'], 'dialogue')} of validation the exported model "
        f"({facts['backbone']}) keeps {_share(sum(map(sum, layers)), total * len(layers))} of the {total} "
        "predefined edges, on average over its layers; the gates of the others are exactly 0."
    )
    return note(summary) + table(("edges kept", *facts["types"], "all"), rows)


def _share(kept: int, of: int) -> str:
    return percent(kept / of) if of else DASH
