"""A picture of the graph that a model finds in a dialogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rigsl.data.corpus import Corpus
from rigsl.files import replacing
from rigsl.inference.learned_graph import EDGE_TYPES, LearnedGraph
from rigsl.pictures import drawing
from rigsl.wording import counted

#: A colour for each edge type and for each speaker (Okabe-Ito, readable with colour blindness).
EDGE_COLOURS = ("#0072B2", "#D55E00", "#999999")
SPEAKER_COLOURS = (
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#999999",
    "#000000",
)
#: Number of relations that are drawn for each utterance.
RELATIONS_PER_UTTERANCE = 3


def draw(graph: LearnedGraph, corpus: Corpus, path: Path) -> None:
    """Draw two panels: the edges that CGS keeps, by type and weight, and NodeFormer's strongest relations.

    The utterances go from left to right, with a lane for each modality and a colour for each speaker. The
    file is written atomically.
    """
    from matplotlib.figure import Figure

    with drawing(font__size=9):
        width = min(24.0, max(8.0, 1.6 + 0.75 * graph.length))
        height = max(7.6, 2.0 + 1.4 * len(graph.modalities))
        figure = Figure(figsize=(width, height), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True)
        _draw_gates(top, graph)
        _draw_relations(bottom, graph)
        for panel in (top, bottom):
            _draw_nodes(panel, graph)
        labels = [
            f"{t + 1} · speaker {graph.speakers[t] + 1}\n{corpus.classes[graph.predicted[t]]}"
            for t in range(graph.length)
        ]
        bottom.set_xticks(range(graph.length), labels, rotation=45 if graph.length > 9 else 0)
        figure.suptitle(f"{corpus.name}, dialogue {graph.dialogue}")
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, format=Path(path).suffix[1:] or "png", dpi=130)


def _position(graph: LearnedGraph, node: int) -> tuple[float, float]:
    """Coordinates of a node: x is the utterance; the lane of the first modality is at the top."""
    modality, utterance = divmod(node, graph.length)
    return float(utterance), float(len(graph.modalities) - 1 - modality)


def _draw_nodes(panel: Any, graph: LearnedGraph) -> None:
    nodes = range(graph.length * len(graph.modalities))
    positions = [_position(graph, node) for node in nodes]
    speakers = [int(graph.speakers[node % graph.length]) for node in nodes]
    colours = [SPEAKER_COLOURS[speaker % len(SPEAKER_COLOURS)] for speaker in speakers]
    panel.scatter(
        *zip(*positions, strict=True), s=150, c=colours, edgecolors="black", linewidths=0.8, zorder=3
    )
    lanes = len(graph.modalities)
    panel.set_yticks(range(lanes), list(reversed(graph.modalities)))
    panel.set_ylim(-0.75, lanes - 0.25)
    panel.set_xlim(-0.6, graph.length - 0.4)
    panel.spines[["top", "right", "bottom", "left"]].set_visible(False)
    panel.tick_params(length=0)


def _draw_gates(panel: Any, graph: LearnedGraph) -> None:
    if not graph.gates.numel():
        panel.set_title("this model has no edge gates")
        return
    weights = graph.gates.mean(dim=1)
    kept, largest = int((weights > 0).sum()), float(weights.max())
    panel.set_title(
        f"context-aware sparsification: {kept} of {counted(len(weights), 'edge')} kept "
        f"(mean gate over the layers, at most {largest:.2f})"
    )
    edges = zip(graph.edge_index.T.tolist(), graph.edge_type.tolist(), weights.tolist(), strict=True)
    for (source, target), kind, weight in edges:
        if weight > 0:
            _arc(panel, graph, source, target, EDGE_COLOURS[kind], weight / largest)
    handles = [
        panel.plot([], [], color=colour, label=name)[0]
        for name, colour in zip(EDGE_TYPES, EDGE_COLOURS, strict=True)
    ]
    panel.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, -0.12), ncols=3, frameon=False)


def _draw_relations(panel: Any, graph: LearnedGraph) -> None:
    strongest = graph.strongest(RELATIONS_PER_UTTERANCE * graph.length)
    if not strongest:
        panel.set_title("this model has no implicit relations")
        return
    largest = strongest[0][2]
    panel.set_title(
        f"implicit relations: the {len(strongest)} strongest "
        f"(mean over heads and layers, at most {largest:.2f})"
    )
    for source, target, weight in strongest:
        _arc(panel, graph, source, target, "#009E73", weight / largest)


def _arc(panel: Any, graph: LearnedGraph, source: int, target: int, colour: str, weight: float) -> None:
    """Draw a curved arrow; width and opacity grow with the weight (0 to 1, relative to the largest)."""
    start, end = _position(graph, source), _position(graph, target)
    bend = 0.0 if start[0] == end[0] else 0.25
    panel.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "alpha": 0.15 + 0.75 * weight,
            "linewidth": 0.4 + 1.6 * weight,
            "shrinkA": 6,
            "shrinkB": 7,
            "mutation_scale": 8,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )
