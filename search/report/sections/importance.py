"""The section on importance: two methods side by side, what they say differently, what that is worth."""

from __future__ import annotations

import plotly.graph_objects as go

from rigsl.wording import MINUS, counted, listed
from search.report.charts import chart
from search.report.html import drawn, note, paragraph, section
from search.report.importance import SHUFFLES, Importance, Importances
from search.report.style import BLUE, ORANGE
from search.report.trial_views import ENOUGH

NAMES = ("PED-ANOVA", "fANOVA")
#: Opacity of a bar that shuffled scores reach, too.
FAINT = 0.3


def importance(found: Importances | None, trials: int) -> str:
    """The section; `trials`: how many have a score."""
    title = "Which parameters mattered"
    if found is None:
        said = f"Importance is computed from {ENOUGH} trials with different scores on; there are {trials}."
        return section("importance", title, note(said))
    above = paragraph(f"{trusted(found)} {differently(found)}")
    return section(
        "importance", title, above, drawn(lambda: _picture(found)), note(explained(found)), note(mixed(found))
    )


def explained(found: Importances) -> str:
    """What the two measure."""
    said = (
        f"PED-ANOVA asks what tells the best {found.good} of {found.trials} trials from all; fANOVA asks "
        "what explains the differences of all scores, those among bad trials included. Bars are shares, and "
        "add up to 100 % for each method. A bar is faint where chance gives as much: some parameter had a "
        f"greater value in one of {SHUFFLES} repetitions with the scores shuffled among the trials."
    )
    if found.left_out:
        exist = "exists" if len(found.left_out) == 1 else "exist"
        said += f" fANOVA leaves out {listed(found.left_out)}, which {exist} in some trials only."
    return said


def differently(found: Importances) -> str:
    """One sentence on where the two disagree."""
    ped, fanova = found.ped_anova, found.fanova
    first, other = next(iter(ped.shares)), next(iter(fanova.shares))
    agreement = found.agreement
    rank = "" if agreement is None else f" (rank correlation {agreement:.2f})".replace("-", MINUS)
    if first == other:
        gap = max(fanova.shares, key=lambda name: abs(ped.shares[name] - fanova.shares[name]))
        more, less = NAMES if ped.shares[gap] > fanova.shares[gap] else NAMES[::-1]
        return f"The two methods agree on {first} first{rank}; {more} makes more of {gap} than {less} does."
    return (
        f"The two methods differ{rank}: PED-ANOVA puts {first} first{_doubt(ped, first)}, as what tells the "
        f"best trials from the rest; fANOVA {other}{_doubt(fanova, other)}, as what moves the score over all "
        "trials, bad ones included."
    )


def _doubt(one: Importance, name: str) -> str:
    return "" if name in one.beyond_chance else " (within chance)"


def trusted(found: Importances) -> str:
    """How far to trust the bars."""
    few = f"With {found.trials} scored trials for {counted(len(found.ped_anova.shares), 'parameter')},"
    sure = [set(one.beyond_chance) for one in (found.ped_anova, found.fanova)]
    either = [name for name in found.order if name in sure[0] | sure[1]]
    if not either:
        return f"{few} no bar is longer than chance makes it: read nothing into their order."
    both = [name for name in either if name in sure[0] & sure[1]]
    agreed = f"by both methods {listed(both)}" if both else "by one method only"
    stand = "stands" if len(either) == 1 else "stand"
    said = f"{few} only {listed(either)} {stand} out from chance, {agreed};"
    return f"{said} read nothing into the order of the others."


def mixed(found: Importances) -> str:
    """What it means that pruned trials count."""
    return (
        "Trials that were stopped early count with the best score they had, a lower bound of what they would "
        "have reached. For PED-ANOVA that is fair as long as none of them would have come to be among the "
        "best. fANOVA takes the values as they are: part of what it finds is what made a trial slow at the "
        "beginning. Without them, only what survived would be compared, which hides what makes trials bad."
    )


def _picture(found: Importances) -> str:
    figure = go.Figure()
    order = found.order
    for name, one, colour in ((NAMES[0], found.ped_anova, BLUE), (NAMES[1], found.fanova, ORANGE)):
        names = [parameter for parameter in order if parameter in one.shares]
        figure.add_bar(
            x=[100 * one.shares[parameter] for parameter in names],
            y=names,
            name=name,
            orientation="h",
            marker={"color": colour, "opacity": opacities(one, names)},
            hovertemplate="%{y}: %{x:.1f} %<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title_text="share (%)")
    figure.update_yaxes(
        categoryorder="array", categoryarray=order, autorange="reversed", showgrid=False, type="category"
    )
    height = 110 + 24 * len(order)
    return chart(figure, "importance of every parameter by PED-ANOVA and fANOVA", height=height)


def opacities(one: Importance, names: list[str]) -> list[float]:
    """Of the bars of `names`."""
    return [1.0 if one.shares[name] > one.chance else FAINT for name in names]
