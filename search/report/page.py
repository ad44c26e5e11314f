"""The page of a study: claim, warnings, links, and the sections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from plotly.offline import get_plotlyjs

from rigsl.wording import counted, percent
from search.record import record
from search.report.claim import claim
from search.report.data import StudyData
from search.report.html import note, paragraph, section, text
from search.report.registry import SECTIONS
from search.report.style import CSS, SCRIPT


def page(data: StudyData) -> str:
    """The whole page."""
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    title = f"RIGSL on {data.corpus}: {data.name}"
    header = f"<h1>{text(title)}</h1>{paragraph(claim(data), 'claim')}{_warnings(data)}{_links()}"
    sections = [section(anchor, entry.title, entry.content(data)) for anchor, entry in SECTIONS.items()]
    footer = note(f"Made {now} from the record of the study.")
    return document(title, [f"<header>{header}</header>", *sections, f"<footer>{footer}</footer>"])


def document(title: str, parts: Sequence[str]) -> str:
    """A self-contained page: styles, plotly.js and the data of the figures are in it."""
    without_javascript = note("The plots need JavaScript.")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{CSS}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><noscript>{without_javascript}</noscript>"
        f"{''.join(parts)}<script>{SCRIPT}</script></body></html>\n"
    )


def _warnings(data: StudyData) -> str:
    sentences = []
    if data.reopened:
        sentences.append(
            f"The test split was opened {data.test_openings} times for this study. After the first opening, "
            "test scores can influence what is done next: read the test score as an optimistic one."
        )
    if data.newer_trials > 0:
        best = record.winner(data.study)
        best_score = (
            ""
            if best is None
            else f" The best of all trials has {percent(record.score(best))} on validation."
        )
        sentences.append(
            f"{counted(data.newer_trials, 'trial')} ended after this result was exported and did not "
            f"influence it.{best_score}"
        )
    return "".join(paragraph(sentence, "warning") for sentence in sentences)


def _links() -> str:
    links = " ".join(f'<a href="#{anchor}">{text(entry.link)}</a>' for anchor, entry in SECTIONS.items())
    return f"<nav>{links}</nav>"
