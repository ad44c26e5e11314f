"""What the report says of a corpus, and of a model's graphs on it: noted in the run folder.

So a report can be made again where the corpus is not. Labels of the test split are not looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rigsl.data.corpus import Corpus
from rigsl.data.source import features_in_words
from rigsl.device import threads
from rigsl.errors import UserError
from rigsl.files import write_text
from rigsl.inference.learned_graph import EDGE_TYPES, learned_graph
from rigsl.training.checkpoint import load_checkpoint
from search.run_folder import FACTS

#: So many validation dialogues show how sparse a graph is.
DIALOGUES = 24


def note_facts(folder: Path, corpus: Corpus, features: str, model: Path | None) -> None:
    """Write ``facts.json`` into the run folder.

    Args:
        folder: of the run.
        corpus: of the study.
        features: "open" or "official".
        model: checkpoint of the result; None: there is none.
    """
    facts = {
        "corpus": corpus_facts(corpus, features),
        "graph": None if model is None else graph_facts(model, corpus),
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def corpus_facts(corpus: Corpus, features: str) -> dict[str, Any]:
    """Name, content, classes, and the size of every split; how often a class occurs in those without test."""
    splits: dict[str, dict[str, Any]] = {}
    for split in ("train", "dev", "test"):
        dialogues = corpus.dialogues(split)
        rows = corpus.rows(dialogues)
        splits[split] = {"dialogues": int(dialogues.size), "utterances": int(rows.size)}
        if split != "test":
            counts = np.bincount(corpus.labels[rows], minlength=len(corpus.classes))
            splits[split]["labels"] = counts.tolist()
    return {
        "name": corpus.name,
        "hash": corpus.content_hash(),
        "features": features_in_words(corpus, features),
        "classes": list(corpus.classes),
        "splits": splits,
    }


def graph_facts(checkpoint: Path, corpus: Corpus) -> dict[str, Any]:
    """How many of the predefined edges CGS leaves on validation dialogues, by layer and type of edge.

    ``edges``: [3] predefined edges of each type; ``left``: [layers][3], without layers where the model has no
    gates; ``problem``: why there is nothing to say.
    """
    try:
        model = load_checkpoint(checkpoint)  # on the CPU
        everyone = corpus.dialogues("dev")
        chosen = everyone[np.linspace(0, len(everyone) - 1, min(DIALOGUES, len(everyone))).astype(int)]
        with threads(1):  # a dialogue is too small to share
            graphs = [learned_graph(model, corpus, corpus.dialogue_ids[index]) for index in chosen]
    except UserError as error:
        return {"problem": str(error)}
    kinds = range(len(EDGE_TYPES))
    edges = sum(torch.stack([(graph.edge_type == kind).sum() for kind in kinds]) for graph in graphs)
    left = sum(
        torch.stack([(graph.gates[graph.edge_type == kind] != 0).sum(dim=0) for kind in kinds], dim=1)
        for graph in graphs
    )
    assert isinstance(edges, torch.Tensor)
    assert isinstance(left, torch.Tensor)
    return {
        "split": "dev",
        "dialogues": len(graphs),
        "backbone": model.config.backbone,
        "types": list(EDGE_TYPES),
        "edges": edges.tolist(),
        "left": left.tolist(),
    }
