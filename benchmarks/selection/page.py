"""What the tables say, in Markdown: the rules, the ways of choosing an epoch, averages and taught models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.markdown import markdown
from benchmarks.selection import in_sample
from benchmarks.selection.handed_over import AVERAGE, BEST_TRIAL, CONFIGURATION, handed_over
from benchmarks.selection.quarters import parts
from benchmarks.selection.rules import (
    FINAL_RULES,
    NEEDED,
    STUDY_SIZE,
    TRIAL_RULES,
    RuleResult,
    WorthVariance,
    averages,
    epochs,
    judge,
    results,
    worth_variance,
)
from benchmarks.selection.tables import KEYS, Measured
from benchmarks.selection.teaching import taught_scores


def page(measured: Measured) -> str:
    """All tables."""
    numbers = measured.complete(NEEDED)
    trained = measured.curves.drop_duplicates(KEYS)
    sections = [
        f"{len(trained)} trainings of {trained['number'].nunique()} configurations; "
        f"{len(numbers)} of them on all {len(parts(3))} + {len(parts(2))} parts of train."
    ]
    sections.append(variance_sentences(worth_variance(judge(measured, {}, numbers)[1])))
    for title, rules in (
        ("One training of a trial", TRIAL_RULES),
        ("Three trainings of a finalist", FINAL_RULES),
    ):
        sections.append(rules_table(title, results(*judge(measured, rules, numbers))))
    sections += [epochs_table(epochs(measured, numbers)), averages_table(averages(measured, numbers))]
    sections.append(handed_over_table(handed_over(measured, numbers)))
    taught = taught_scores(measured)
    if len(taught):
        sections.append(taught_table(taught))
    if in_sample.TABLE.exists():
        sections.append(in_sample.table(pd.read_parquet(in_sample.TABLE)))
    return "\n\n".join(sections)


def variance_sentences(found: WorthVariance) -> str:
    """How far configurations differ, and what a perfect rule could have."""
    return (
        f"Between these configurations the worth on unseen dialogues has a standard deviation of "
        f"{found.between:.2f} points; one training on one pseudo-test is {found.within:.2f} points off. So "
        f"no rule can have a correlation above {_with_interval(found.ceiling, 2)} with the score of one "
        f"training, and the truly best of {STUDY_SIZE} is worth {found.attainable:.2f} points more than the "
        f"mean one."
    )


def rules_table(title: str, found: Mapping[str, RuleResult]) -> str:
    """A row for every rule."""
    rows = [
        (name, _with_interval(result.rank_correlation, 2), _with_interval(result.gain, 2))
        for name, result in found.items()
    ]
    best = next(iter(found.values())).best
    rows.append(("(the best on the pseudo-test)", "1", f"{best:+.2f}"))
    return markdown((title, "rank correlation", "gain of the chosen one, points"), rows)


def epochs_table(scores: pd.DataFrame) -> str:
    """A row for every way of choosing the epoch."""
    names = [name for name in scores.columns if name not in ("quarter", "number")]
    by_quarter = 100 * scores.groupby("quarter")[names].mean()
    base = by_quarter[names[0]]
    rows = [
        (name, f"{by_quarter[name].mean():.2f}", _difference((by_quarter[name] - base).to_numpy()))
        for name in names
    ]
    return markdown(("Epoch", "weighted F1", f"above {names[0]}, by pseudo-test"), rows)


def averages_table(scores: pd.DataFrame) -> str:
    """A row for every number of configurations."""
    rows = []
    for count, part in scores.groupby("configurations"):
        means = 100 * part[["single", "average", "configuration"]].mean()
        gain = (100 * (part["average"] - part["configuration"])).to_numpy()
        rows.append((str(count), *(f"{value:.2f}" for value in means), _difference(gain)))
    head = ("Configurations in the average", "a member", "average", "the configuration",
            "average above it, by pseudo-test")  # fmt: skip
    return markdown(head, rows)


def handed_over_table(scores: pd.DataFrame) -> str:
    """A row for each thing that is handed over; its gain is above the best trial of the same study."""
    rows = []
    for name in (BEST_TRIAL, CONFIGURATION, AVERAGE):
        gains = (100 * (scores[name] - scores[BEST_TRIAL])).groupby(scores["quarter"]).mean().to_numpy()
        rows.append((name, f"{100 * scores[name].mean():.2f}", _difference(gains)))
    return markdown(("Handed over", "weighted F1", "above the best trial on dev, by pseudo-test"), rows)


def taught_table(scores: pd.DataFrame) -> str:
    """A row for every weight and temperature."""
    rows = []
    for (weight, temperature), part in scores.groupby(["weight", "temperature"]):
        gains = (100 * (part["taught"] - part["untaught"])).groupby(part["quarter"]).mean().to_numpy()
        means = 100 * part[["untaught", "taught"]].mean()
        rows.append(
            (f"{weight:g}", f"{temperature:g}", *(f"{value:.2f}" for value in means), _difference(gains))
        )
    return markdown(("Weight", "temperature", "untaught", "taught", "gain, by pseudo-test"), rows)


def _difference(values: np.ndarray) -> str:
    """The mean, and every pseudo-test's."""
    return f"{values.mean():+.2f} ({', '.join(f'{value:+.1f}' for value in values)})"


def _with_interval(values: tuple[float, float, float], digits: int) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in values)
    return f"{mean} ({low} to {high})"
