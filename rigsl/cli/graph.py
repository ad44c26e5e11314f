"""`python -m rigsl graph`: the graph that a model finds in a dialogue, as a file, a picture and tables."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.console import make_console
from rigsl.errors import UserError
from rigsl.files import cannot_write, check_writable, file_name
from rigsl.shell import pasteable

if TYPE_CHECKING:  # torch and rich are imported when the command runs
    from rich.console import Console

    from rigsl.inference.learned_graph import LearnedGraph


def run_graph(options: argparse.Namespace) -> int:
    """Write DIALOGUE.pt and DIALOGUE.png into the folder `out`; print which share of the edges is kept.

    Raises:
        UserError: there is no such model or dialogue, or the folder holds an average.
    """
    from rigsl.data.open.emotions import for_model
    from rigsl.data.source import load_corpus
    from rigsl.inference.average import Average, load_model, member_name
    from rigsl.inference.graph_picture import draw
    from rigsl.inference.learned_graph import learned_graph

    check_writable(options.out / "picture.png")
    model = load_model(options.checkpoint)
    if isinstance(model, Average):
        raise UserError(
            f"{options.checkpoint}: is an average of models, each of which finds a graph of its own; choose "
            f"one, such as {pasteable('--checkpoint', options.checkpoint / member_name(0))}"
        )
    corpus = load_corpus(options.dataset, options.features, options.data_dir)
    corpus = for_model(corpus, model.schema.widths)
    graph = learned_graph(model, corpus, options.dialogue)
    out: Path = options.out
    name = file_name(graph.dialogue)
    data, picture = out / f"{name}.pt", out / f"{name}.png"
    try:
        graph.save(data)
        draw(graph, corpus, picture)
    except OSError as error:
        raise cannot_write(out, error) from None
    console = make_console()
    first = int(corpus.offsets[corpus.dialogue_ids.index(graph.dialogue)])
    for t in range(graph.length):
        emotion = corpus.classes[graph.predicted[t]]
        console.print(
            f"{t + 1:3d}  speaker {graph.speakers[t] + 1}  {emotion:9s} {corpus.utterance(first + t)}"
        )
    _print_tables(console, graph)
    console.print(f"graph    {data}  (torch_geometric: Data.from_dict(torch.load(...)))\npicture  {picture}")
    return 0


def _print_tables(console: Console, graph: LearnedGraph) -> None:
    from rich.table import Table

    from rigsl.inference.learned_graph import EDGE_TYPES

    if graph.gates.numel():
        table = Table("edges kept", *EDGE_TYPES)
        for layer, shares in enumerate(graph.kept().tolist()):
            cells = ["no edges" if math.isnan(share) else f"{share:.1%}" for share in shares]
            table.add_row(f"layer {layer + 1}", *cells)
        console.print(table)
    if strongest := graph.strongest(5):
        table = Table("strongest implicit relations", "weight")
        for source, target, weight in strongest:
            table.add_row(f"{_node(graph, source)} -> {_node(graph, target)}", f"{weight:.3f}")
        console.print(table)


def _node(graph: LearnedGraph, node: int) -> str:
    modality, utterance = divmod(node, graph.length)
    return f"{graph.modalities[modality]} {utterance + 1}"
