"""The table of a campaign: events by kind and stage, and what became of the studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rigsl.wording import counted
from tests.chaos.campaign import Disturbed
from tests.chaos.driver import STAGES
from tests.chaos.events import KINDS


def table(studies: Sequence[Disturbed]) -> str:
    """The table in Markdown, and a sentence."""
    cells = Counter((kind, stage) for study in studies for kind, stage, _ in study.happened)
    lines = [f"| event | {' | '.join(STAGES)} | all |", f"|---|{'--:|' * (len(STAGES) + 1)}"]
    for kind in KINDS:
        counts = [cells[kind, stage] for stage in STAGES]
        if any(counts):
            lines.append(_row(kind, counts))
    totals = [sum(cells[kind, stage] for kind in KINDS) for stage in STAGES]
    lines.append(_row("all", totals))
    failed = [study for study in studies if study.problems]
    starts = sum(study.lives for study in studies)
    minutes = sum(study.seconds for study in studies) / 60
    sentence = (
        f"{counted(sum(totals), 'event')} in {len(studies)} studies with {counted(starts, 'start')} of the "
        f"command, {minutes:.0f} minutes. {len(studies) - len(failed)} studies ended equal to "
        f"the undisturbed study, {len(failed)} did not."
    )
    return "\n".join([*lines, "", sentence])


def _row(name: str, counts: Sequence[int]) -> str:
    return f"| {name} | {' | '.join(str(count or '') for count in counts)} | {sum(counts)} |"
