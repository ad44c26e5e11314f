"""The sections of the report, in the order of the page.

A new section is one file in `search/report/sections/`, with a function `content` that returns its HTML, and
one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from search.report.data import StudyData
from search.report.sections import (
    classes,
    compute,
    curves,
    edges,
    explanation,
    finalists,
    graph,
    history,
    importance,
    landscape,
    result,
    setup,
    trials,
    trust,
)


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    content: Callable[[StudyData], str]  #: the HTML below its title
    title: str
    link: str  #: its title in the list of links


#: Anchor in the page, which is the name of its file -> section.
SECTIONS: Mapping[str, Section] = {
    "result": Section(result.content, "Winner against baseline", "Winner against baseline"),
    "finalists": Section(finalists.content, "Finalists: retrained with fresh seeds", "Finalists"),
    "trust": Section(trust.content, "Can this search be trusted?", "Trust"),
    "explanation": Section(explanation.content, "From the baseline to the winner", "Explanation"),
    "classes": Section(classes.content, "F1 of every emotion", "Emotions"),
    "history": Section(history.content, "Best score so far (incumbent)", "Best score"),
    "curves": Section(curves.content, "Learning curves", "Learning curves"),
    "importance": Section(importance.content, "Hyperparameter importance", "Importance"),
    "landscape": Section(landscape.content, "Hyperparameters and score", "Hyperparameters"),
    "edges": Section(edges.content, "Ranges: good trials at an edge", "Ranges"),
    "trials": Section(trials.content, "Trials: how they ended", "Trials"),
    "compute": Section(compute.content, "Time and compute", "Compute"),
    "graph": Section(graph.content, "Sparsity of the learned graph", "Graph"),
    "setup": Section(setup.content, "Data, protocol, setup", "Setup"),
}
