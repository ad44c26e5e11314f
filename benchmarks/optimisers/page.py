"""The tables of docs/optimisers.md."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.markdown import markdown
from benchmarks.optimisers.problems import FAMILIES
from benchmarks.optimisers.rivals import ABLATIONS, OURS, REFERENCE, SAMPLERS, SLOW
from benchmarks.optimisers.summaries import (
    SHARES,
    Comparison,
    MeanRank,
    common,
    comparisons,
    duels,
    mean_ranks,
    ranks,
    relative_regrets,
    with_family,
)
from rigsl.wording import counted, listed

RANDOM = "random"


def page(studies: pd.DataFrame) -> str:
    """All tables of the studies of one half."""
    studies = with_family(studies)
    there = list(studies["sampler"].unique())
    rivals = [name for name in SAMPLERS if name in there and name not in SLOW]
    sections = [f"{counted(len(studies), 'study', 'studies')} of {counted(len(there), 'sampler')}."]
    if rivals:
        sections += _rank_tables(common(studies, rivals), rivals)
    if OURS in there and REFERENCE in there:
        sections.append(_duel_table(studies))
    slow = [name for name in SLOW if name in there]
    part = common(studies, [*rivals, *slow])
    if slow and len(part):
        sections.append(f"With {listed(slow)}, on the part of the problems that the slow ones have run:")
        sections += _rank_tables(part, [*rivals, *slow])
    changed = [name for name in ABLATIONS if name in there]
    if changed and OURS in there:
        sections.append(f"{OURS} with one thing changed:")
        part = common(studies, [OURS, *changed])
        sections += _rank_tables(part, [OURS, *changed])
        sections.append(_ablation_table(part, changed))
    if RANDOM in there:
        sections.append(_regret_table(studies, [name for name in SAMPLERS if name in there]))
    sections.append(_time_table(studies, there))
    return "\n\n".join(sections)


def question_page(studies: pd.DataFrame, variants: Sequence[str]) -> str:
    """The tables of variants of gp, those of `variants` that have run."""
    studies = with_family(studies)
    names = [name for name in variants if (studies["sampler"] == name).any()]
    part = common(studies, [OURS, *names])
    compared = comparisons(part, names, OURS)
    columns = [mean_ranks(ranks(part, share)) for share in SHARES]
    shares = [f"after {share} %" for share in SHARES]
    ranked = [(name, *(_mean_rank(column[name]) for column in columns)) for name in (OURS, *names)]
    rows = {(name, family): f"{name}: {family}" for name, family, _ in compared}
    against = [
        (row, *(_against(compared[name, family, share]) for share in SHARES))
        for (name, family), row in rows.items()
    ]
    problems = counted(part["problem"].nunique(), "problem")
    head = f"regret relative to {OURS}; problems better : worse (* p < .05, Holm)"
    return "\n\n".join(
        [
            f"{counted(len(part), 'study', 'studies')} of {problems}.",
            markdown((f"mean rank, {problems}", *shares), ranked),
            markdown((head, *shares), against),
        ]
    )


def _mean_rank(rank: MeanRank) -> str:
    return f"{rank.mean:.2f} ({rank.low:.2f} to {rank.high:.2f})"


def _against(compared: Comparison) -> str:
    duel = compared.duel
    return f"{compared.ratio:.2f}; {duel.wins} : {duel.losses}" + (" *" if duel.p < 0.05 else "")


def _rank_tables(studies: pd.DataFrame, samplers: Sequence[str]) -> list[str]:
    """A table for each family, and one for all of them: a row for every sampler."""
    families = [name for name in FAMILIES if (studies["family"] == name).any()]
    found = []
    for family in [*families, *(["all"] if len(families) > 1 else [])]:
        part = studies if family == "all" else studies[studies["family"] == family]
        columns = [mean_ranks(ranks(part, share)) for share in SHARES]
        order = sorted(samplers, key=lambda name: columns[-1][name].mean)
        rows = [(name, *(_mean_rank(column[name]) for column in columns)) for name in order]
        number = part["problem"].nunique()
        title = f"{family}: mean rank, {counted(number, 'problem')}"
        found.append(markdown((title, *(f"after {share} %" for share in SHARES)), rows))
    return found


def _duel_table(studies: pd.DataFrame) -> str:
    rows = [
        (f"{family}, after {share} %", str(duel.problems), str(duel.wins), str(duel.losses), f"{duel.p:.2g}")
        for (family, share), duel in duels(studies, OURS, REFERENCE).items()
    ]
    return markdown((f"{OURS} against {REFERENCE}", "problems", "better", "worse", "p (Holm)"), rows)


def _ablation_table(studies: pd.DataFrame, changed: Sequence[str]) -> str:
    """Each ablation against gp: problems on which it is better and worse."""
    rows = []
    for name in changed:
        cells = [
            f"{duel.wins} : {duel.losses}" + (" *" if duel.p < 0.05 else "")
            for (_, share), duel in duels(studies, name, OURS).items()
            if share != SHARES[0]
        ]
        rows.append((name, *cells))
    families = [
        f"{family}, {share} %" for family, share in duels(studies, changed[0], OURS) if share != SHARES[0]
    ]
    return markdown((f"better : worse than {OURS} (* p < .05, Holm)", *families), rows)


def _regret_table(studies: pd.DataFrame, samplers: Sequence[str]) -> str:
    """The regret at the end relative to random search's: median over the problems of a family."""
    tables = {name: relative_regrets(common(studies, [name, RANDOM]), name, RANDOM) for name in samplers}
    families = [name for name in FAMILIES if (studies["family"] == name).any()]
    rows = [
        (name, *(f"{tables[name].get(family, float('nan')):.3g}" for family in families)) for name in samplers
    ]
    head = "regret at the end, relative to random search (median)"
    return markdown((head, *families), rows)


def _time_table(studies: pd.DataFrame, samplers: Sequence[str]) -> str:
    """Milliseconds of a proposal, and failures."""
    rows = []
    for name in [*(name for name in (*SAMPLERS, *ABLATIONS) if name in samplers)]:
        part = studies[studies["sampler"] == name]
        mean = 1000 * part["seconds"].sum() / part["trials"].sum()
        rows.append(
            (name, f"{mean:.1f}", f"{1000 * part['slowest'].median():.0f}", str(part["failures"].sum()))
        )
    return markdown(("sampler", "ms a proposal", "ms, slowest of a study (median)", "failures"), rows)
