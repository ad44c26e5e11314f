"""What the report says about the corpus and the model's graphs, stored in the run folder.

So the report can be made again where corpus and model are missing. Test labels are not read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.source import features_in_words
from rigsl.device import threads
from rigsl.errors import UserError
from rigsl.files import sha256
from rigsl.inference.learned_graph import EDGE_TYPES, learned_graph
from rigsl.training.checkpoint import WEIGHTS, load_checkpoint
from search.run_folder import FACTS, write_file

#: Validation dialogues on which the sparsity of the graph is measured.
DIALOGUES = 24


def write_facts(folder: Path, corpus: Corpus, features: str, model: Path | None) -> None:
    """Write ``facts.json`` into the run folder.

    Args:
        folder: the run folder.
        corpus: of the study.
        features: "open" or "official".
        model: checkpoint of the result; None: there is none.
    """
    facts = {
        "corpus": corpus_facts(corpus, features),
        "graph": None if model is None else graph_facts(model, corpus),
    }
    write_file(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def corpus_facts(corpus: Corpus, features: str) -> dict[str, Any]:
    """Name, content hash, classes, and the size of every split; class counts for all splits but test."""
    splits: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
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
    """How many of the predefined edges CGS keeps on validation dialogues, by layer and edge type.

    ``edges``: [3] predefined edges of each type; ``left``: [layers][3], empty if the model has no gates;
    ``weights``: SHA-256 of the model's; ``problem``: why there is no answer.
    """
    try:
        model = load_checkpoint(checkpoint)  # on the CPU
        dialogues = corpus.dialogues("dev")
        sample = dialogues[np.linspace(0, len(dialogues) - 1, min(DIALOGUES, len(dialogues))).astype(int)]
        with threads(1):  # a single dialogue gains nothing from more
            graphs = [learned_graph(model, corpus, corpus.dialogue_ids[index]) for index in sample]
    except UserError as error:
        return {"problem": str(error)}
    types = range(len(EDGE_TYPES))
    edges = sum(torch.stack([(graph.edge_type == kind).sum() for kind in types]) for graph in graphs)
    kept = sum(
        torch.stack([(graph.gates[graph.edge_type == kind] != 0).sum(dim=0) for kind in types], dim=1)
        for graph in graphs
    )
    assert isinstance(edges, torch.Tensor)
    assert isinstance(kept, torch.Tensor)
    return {
        "weights": sha256(checkpoint / WEIGHTS),
        "split": "dev",
        "dialogues": len(graphs),
        "backbone": model.config.backbone,
        "types": list(EDGE_TYPES),
        "edges": edges.tolist(),
        "left": kept.tolist(),
    }
