"""Hyperparameter importance: two methods side by side, where they differ, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from rigsl.wording import MINUS, counted, listed
from search.report.charts import chart, in_percent
from search.report.data import StudyData
from search.report.html import drawn, note, paragraph
from search.report.importance import SHUFFLES, Importance, Importances
from search.report.style import BLUE, ORANGE
from search.report.trial_views import scored_trials
from search.samplers.good_trials import MIN_SCORED

METHODS = ("PED-ANOVA", "fANOVA")
#: Opacity of a bar that is not beyond chance.
FAINT = 0.3


def content(data: StudyData) -> str:
    """The section."""
    importances = data.importances
    if importances is None:
        scored = counted(len(scored_trials(data.study)), "trial")
        return note(
            f"Importance is computed from at least {MIN_SCORED} trials with different scores; this study has "
            f"{scored} with a score."
        )
    return "".join(
        [
            paragraph(f"{trustworthiness(importances)} {disagreement(importances)}"),
            drawn(lambda: _picture(importances)),
            note(explanation(importances)),
            note(PRUNED_TRIALS),
        ]
    )


#: What it means that pruned trials count.
PRUNED_TRIALS = (
    "Pruned trials count with their best score, a lower bound of what they would have reached. For "
    "PED-ANOVA that is fair as long as none of them would have become one of the best. fANOVA takes the "
    "values as they are: part of what it attributes to a hyperparameter is a slow start. Leaving pruned "
    "trials out would compare the survivors only and hide what makes trials bad."
)


def explanation(importances: Importances) -> str:
    """What the two methods measure."""
    text = (
        f"PED-ANOVA measures what distinguishes the best {importances.good} of {importances.trials} trials "
        "from all; fANOVA measures what explains the variance of all scores, including those of bad "
        "trials. Bars are shares, which add up to 100 % for each method. A faint bar is not beyond chance: "
        f"some parameter had a larger value in one of {SHUFFLES} repetitions with the scores shuffled among "
        "the trials."
    )
    if importances.left_out:
        verb = "exists" if len(importances.left_out) == 1 else "exist"
        text += f" fANOVA leaves out {listed(importances.left_out)}, which {verb} in some trials only."
    return text


def disagreement(importances: Importances) -> str:
    """One sentence on where the two methods differ."""
    ped, fanova = importances.ped_anova, importances.fanova
    first, fanova_first = next(iter(ped.shares)), next(iter(fanova.shares))
    agreement = importances.agreement
    rank = "" if agreement is None else f" (rank correlation {agreement:.2f})".replace("-", MINUS)
    if first == fanova_first:
        name = max(fanova.shares, key=lambda name: abs(ped.shares[name] - fanova.shares[name]))
        larger, smaller = METHODS if ped.shares[name] > fanova.shares[name] else METHODS[::-1]
        return f"Both methods rank {first} first{rank}; {larger} gives {name} a larger share than {smaller}."
    return (
        f"The two methods differ{rank}: PED-ANOVA ranks {first} first{_doubt(ped, first)}, as it "
        f"distinguishes the best trials from the rest; fANOVA ranks {fanova_first} "
        f"first{_doubt(fanova, fanova_first)}, as it explains the scores of all trials, including bad ones."
    )


def _doubt(importance: Importance, name: str) -> str:
    return "" if name in importance.beyond_chance else " (not beyond chance)"


def trustworthiness(importances: Importances) -> str:
    """How far the order of the bars can be trusted."""
    parameters = counted(len(importances.ped_anova.shares), "parameter")
    basis = f"With {importances.trials} scored trials and {parameters},"
    significant = [set(method.beyond_chance) for method in (importances.ped_anova, importances.fanova)]
    either = [name for name in importances.order if name in significant[0] | significant[1]]
    if not either:
        return f"{basis} no share is beyond chance: the order of the bars means nothing."
    both = [name for name in either if name in significant[0] & significant[1]]
    methods = f"by both methods {listed(both)}" if both else "by one method only"
    verb = "has a share" if len(either) == 1 else "have shares"
    finding = f"only {listed(either)} {verb} beyond chance, {methods}"
    return f"{basis} {finding}; the order of the others means nothing."


def _picture(importances: Importances) -> str:
    figure = go.Figure()
    order = importances.order
    methods = zip(METHODS, (importances.ped_anova, importances.fanova), (BLUE, ORANGE), strict=True)
    for method, importance, colour in methods:
        names = [name for name in order if name in importance.shares]
        figure.add_bar(
            x=in_percent([importance.shares[name] for name in names]),
            y=names,
            name=method,
            orientation="h",
            marker={"color": colour, "opacity": opacities(importance, names)},
            hovertemplate="%{y}: %{x:.1f} %<extra>" + method + "</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title_text="share (%)")
    figure.update_yaxes(
        categoryorder="array", categoryarray=order, autorange="reversed", showgrid=False, type="category"
    )
    height = 110 + 24 * len(order)
    return chart(figure, "importance of every parameter by PED-ANOVA and fANOVA", height=height)


def opacities(importance: Importance, names: Sequence[str]) -> list[float]:
    """The opacities of the bars of `names`."""
    return [1.0 if importance.shares[name] > importance.chance else FAINT for name in names]
