"""How sparse the result's graph is: edges that CGS leaves on validation dialogues."""

from __future__ import annotations

from typing import Any

from rigsl.wording import DASH, percent
from search.report.data import Material
from search.report.html import note, section, table


def graph(m: Material) -> str:
    """The section."""
    title = "Sparsity of the learned graph"
    found: dict[str, Any] = dict(m.facts.get("graph") or {})
    if not found:
        return section("graph", title, note("There is no exported model to look at."))
    if "problem" in found:
        return section("graph", title, note(f"Not known: {found['problem']}."))
    if not found["left"]:
        said = f"The model has no gates that remove edges (backbone {found['backbone']}, or CGS turned off)."
        return section("graph", title, note(said))
    total, left = sum(found["edges"]), [sum(layer) for layer in found["left"]]
    head = ("edges left", *found["types"], "all")
    rows = [
        (
            f"layer {i}",
            *(_share(one, of) for one, of in zip(layer, found["edges"], strict=True)),
            _share(sum(layer), total),
        )
        for i, layer in enumerate(found["left"], start=1)
    ]
    said = (
        f"On {found['dialogues']} dialogues of validation the exported model ({found['backbone']}) keeps "
        f"{_share(sum(left), total * len(left))} of the {total} predefined edges, on average over its "
        "layers; the gates of the others are exactly 0."
    )
    return section("graph", title, note(said), table(head, rows))


def _share(left: int, of: int) -> str:
    return percent(left / of) if of else DASH
