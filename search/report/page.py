"""The page: its sections in their order, around the claim."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from plotly.offline import get_plotlyjs

from rigsl.wording import counted, percent
from search.record import record
from search.report.claim import claim
from search.report.data import Material
from search.report.html import note, paragraph, text
from search.report.importance import Importances
from search.report.sections.classes import classes
from search.report.sections.compute import compute
from search.report.sections.edges import edges
from search.report.sections.finalists import finalists
from search.report.sections.graph import graph
from search.report.sections.history import curves, history
from search.report.sections.importance import importance
from search.report.sections.landscape import landscape
from search.report.sections.result import result
from search.report.sections.setup import setup
from search.report.sections.trials import trials
from search.report.style import CSS, SCRIPT
from search.report.trial_views import scored

_LINKS = {
    "result": "Winner against baseline",
    "finalists": "Finalists",
    "classes": "Emotions",
    "history": "Best so far",
    "curves": "Curves",
    "importance": "Importance",
    "landscape": "Parameters",
    "edges": "Ranges",
    "trials": "Trials",
    "compute": "Machines",
    "graph": "Graph",
    "setup": "Setup",
}


def page(m: Material, found: Importances | None) -> str:
    """The whole page; `found`: what `importance.measure` says of the study."""
    made = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    title = f"RIGSL on {m.corpus}: {m.name}"
    order = found.order if found is not None else list(m.space.parameters)
    parts = [
        f"<header><h1>{text(title)}</h1>{paragraph(claim(m), 'claim')}{_warning(m)}{_links()}</header>",
        result(m),
        finalists(m),
        classes(m),
        history(m),
        curves(m),
        importance(found, len(scored(m.study))),
        landscape(m, order),
        edges(m),
        trials(m),
        compute(m),
        graph(m),
        setup(m),
        f"<footer>{note(f'Made {made} from the record of the study.')}</footer>",
    ]
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A page that needs nothing else: styles, plotly.js and the figures' data are in it."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{CSS}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><noscript>{note('The plots need JavaScript; the pictures beside it do not.')}</noscript>"
        f"{''.join(parts)}<script>{SCRIPT}</script></body></html>\n"
    )


def _warning(m: Material) -> str:
    said = []
    if m.again:
        said.append(
            f"The test split was opened {m.opened} times for this study. Each look after the first lets test "
            "scores influence what is done next: read the test score as an optimistic one."
        )
    if m.newer > 0:
        best = record.winner(m.study)
        score = (
            "" if best is None else f" The best of all has now {percent(record.score(best))} on validation."
        )
        said.append(
            f"{counted(m.newer, 'trial')} ended after this result was made; they have no part in it.{score}"
        )
    return "".join(paragraph(sentence, "warning") for sentence in said)


def _links() -> str:
    return (
        "<nav>"
        + " ".join(f'<a href="#{name}">{text(title)}</a>' for name, title in _LINKS.items())
        + "</nav>"
    )
