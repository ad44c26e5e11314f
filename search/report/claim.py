"""What a study found, in one sentence that stays true out of its context."""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from rigsl.wording import counted, p_value, percent, points
from search.confirm.final_record import TestRecord
from search.confirm.summary import TestScores
from search.record import record
from search.report.data import Material
from search.report.format import span, spread


def claim(m: Material) -> str:
    """The sentence."""
    counts = record.counts(m.study)
    total = counts["complete"] + counts["pruned"] + counts["failed"]
    if m.final.test is not None:
        return _tested(m, m.final.test, total)
    best = m.winner
    if best is None:
        return f"None of {counted(total, 'trial')} finished an epoch; there is no result."
    cut = "" if best.state == TrialState.COMPLETE else " (stopped before its last epoch)"
    which = f"The best of {counted(total, 'trial')} on {m.corpus}, trial {best.number}{cut},"
    start = f"{which} reaches a weighted F1 of"
    if "test" not in m.metrics:
        opened = (
            "only the paper protocol has looked at the test split"
            if m.final.openings
            else "nothing was tested"
        )
        return f"{start} {percent(record.score(best))} on validation; {opened}."
    validation, test = m.metrics["validation"]["weighted_f1"], m.metrics["test"]["weighted_f1"]
    return (
        f"{start} {percent(validation)} on validation, on which it was chosen, and of {percent(test)} on "
        f"test, which was opened {_times(m.opened)}; it is one training (seed {m.metrics['seed']}), so "
        "that its spread is not known."
    )


def _tested(m: Material, test: TestRecord, total: int) -> str:
    """The sentence of a study whose winner was tested with several seeds."""
    found = test.winner
    whose = "the baseline itself" if m.same else f"the configuration that won a search of {total} trials"
    return (
        f"On the test split of {m.corpus}{_size(m)}, {whose} reaches a weighted F1 of {_score(found)}"
        f"{_against(m, test)}; {_how_chosen(m)}, and test was opened {_times(m.opened)}"
        f"{_paper(m)}."
    )


def _score(found: TestScores) -> str:
    """Mean, deviation, seeds and interval."""
    f1, interval = found.weighted_f1, found.interval
    seeds = len(found.seeds)
    how = f"mean ± standard deviation of {seeds} trainings" if seeds > 1 else "one training"
    if interval is not None:
        how += f"; {100 * interval.level:.0f} % interval {span(interval)}"
    return f"{spread(f1)} ({how})"


def _against(m: Material, test: TestRecord) -> str:
    """The difference to the baseline, and whether the data can tell it from none."""
    baseline, difference = test.baseline, test.difference
    if m.same:
        return ": nothing better was found"
    if baseline is None:
        return ", with no baseline beside it"
    mean = test.winner.weighted_f1.mean - baseline.weighted_f1.mean
    said = f", {points(mean)} points against the baseline's {spread(baseline.weighted_f1)}"
    found = None if difference is None else difference.bootstrap
    if found is None:
        return said
    interval = found.interval
    unclear = interval.low <= 0 <= interval.high
    return (
        f"{said} ({100 * interval.level:.0f} % interval {span(interval, signed=True)}, paired bootstrap "
        f"{p_value(found.p)}{': this test set cannot tell the difference from none' if unclear else ''})"
    )


def _how_chosen(m: Material) -> str:
    finalists = m.final.finalists
    if finalists is None:
        return "it was chosen by its best validation score in the search, of one training"
    return (
        f"it was chosen on validation alone, by the mean of {counted(len(finalists.seeds), 'fresh seed')} "
        f"among {counted(len(finalists.candidates), 'finalist')}"
    )


def _times(number: int) -> str:
    if number < 2:
        return "once, afterwards"
    return f"{number} times, so that this number is no longer a first look"


def _paper(m: Material) -> str:
    if m.final.paper is None:
        return ""
    return " (the trainings of the paper protocol, which are selected on test, apart)"


def _size(m: Material) -> str:
    splits: dict[str, Any] = (m.facts.get("corpus") or {}).get("splits", {})
    if "test" not in splits:
        return ""
    return f" ({splits['test']['dialogues']} dialogues, {splits['test']['utterances']} utterances)"
