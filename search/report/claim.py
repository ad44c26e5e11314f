"""The claim: a study's result in one sentence that stays true out of context.

A study with several answers has one more sentence for the others, and one that says which number is which.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import TrialState

from rigsl.wording import counted, p_value, percent, points
from search.confirm.answers import Answer, several_answers
from search.confirm.final_record import TestRecord
from search.confirm.summary import TestScores
from search.record import record
from search.report.data import StudyData
from search.report.format import span, spread


def claim(data: StudyData) -> str:
    """The sentence, or sentences."""
    trials = counted(len(record.finished(data.study)), "trial")
    if data.final.test is not None:
        return _tested(data, data.final.test, trials)
    best = data.winner
    if best is None:
        return f"None of {trials} finished an epoch; there is no result."
    stopped = "" if best.state == TrialState.COMPLETE else " (stopped before its last epoch)"
    name = f"trial {best.number}{stopped}, {data.origin}"
    start = f"The best of {trials} on {data.corpus}, {name}, reaches a weighted F1 of"
    if "test" not in data.metrics:
        tested = "nothing was tested"
        if data.test_openings:
            tested = f"it has no test score, but test was opened {counted(data.test_openings, 'time')}"
        elif data.final.openings:
            tested = "only the paper protocol has used the test split"
        return f"{start} {percent(record.score(best))} on validation; {tested}."
    validation, test = data.metrics["validation"]["weighted_f1"], data.metrics["test"]["weighted_f1"]
    return (
        f"{start} {percent(validation)} on validation, on which it was chosen, and of {percent(test)} on "
        f"test, which was opened {_times(data.test_openings)}; it is a single training (seed "
        f"{data.metrics['seed']}), so its spread over seeds is not known."
    )


def _tested(data: StudyData, test: TestRecord, trials: str) -> str:
    """The claim of a study whose winner was tested in the final stage."""
    subject = (
        "the baseline itself"
        if data.baseline_won
        else f"the configuration that won a search of {trials} ({data.origin})"
    )
    return (
        f"On the test split of {data.corpus}{_size(data)}, {subject} reaches a weighted F1 of "
        f"{_score(test.winner)}{_difference(data, test)}; {_selection(data)}, and test was opened "
        f"{_times(data.test_openings)}{_paper(data)}.{_other_answers(test)}"
    )


def _other_answers(test: TestRecord) -> str:
    """The other answers, and which number is which; empty for the configuration alone."""
    others = several_answers(test)[1:]
    if not others:
        return ""
    return (
        " Fixed before test was opened, too, and opened together with this configuration: "
        f"{'; '.join(_answer(answer) for answer in others)}. The configuration's score is the one to compare "
        "with the literature; no answer is picked by its test score."
    )


def _answer(answer: Answer) -> str:
    """An answer beside the configuration: what it is, its score, its difference to the baseline."""
    sentence = f"{answer.name} ({answer.meaning}), {spread(answer.winner.weighted_f1)}"
    if answer.difference is None:
        return sentence
    sentence += f", {points(answer.difference)} points against the baseline in the same form"
    return sentence if answer.bootstrap is None else f"{sentence} ({p_value(answer.bootstrap.p)})"


def _score(scores: TestScores) -> str:
    """Mean, standard deviation, number of trainings, and interval."""
    seeds, interval = len(scores.seeds), scores.interval
    basis = f"mean ± standard deviation of {seeds} trainings" if seeds > 1 else "one training"
    if interval is not None:
        basis += f"; {100 * interval.level:.0f} % interval {span(interval)}"
    return f"{spread(scores.weighted_f1)} ({basis})"


def _difference(data: StudyData, test: TestRecord) -> str:
    """The difference to the baseline, and whether it is significant."""
    baseline = test.baseline
    if data.baseline_won:
        return ": nothing better was found"
    if baseline is None:
        return ", without a baseline to compare with"
    mean = test.winner.weighted_f1.mean - baseline.weighted_f1.mean
    sentence = f", {points(mean)} points against the baseline's {spread(baseline.weighted_f1)}"
    bootstrap = None if test.difference is None else test.difference.bootstrap
    if bootstrap is None:
        return sentence
    interval = bootstrap.interval
    significance = ""
    if interval.low <= 0 <= interval.high:
        significance = ": no significant difference on this test split"
    return (
        f"{sentence} ({100 * interval.level:.0f} % interval {span(interval, signed=True)}, paired bootstrap "
        f"{p_value(bootstrap.p)}{significance})"
    )


def _selection(data: StudyData) -> str:
    """How the winner was chosen."""
    finalists = data.final.finalists
    if finalists is None:
        return "it was chosen by its best validation score in the search, of one training"
    seeds = counted(len(finalists.seeds), "fresh seed")
    candidates = counted(len(finalists.candidates), "finalist")
    if finalists.folds:
        return (
            f"it was chosen without test, by the mean of {seeds}, each scored on a held-out fold of train, "
            f"among {candidates}"
        )
    return f"it was chosen on validation alone, by the mean of {seeds} among {candidates}"


def _times(openings: int) -> str:
    if openings < 2:
        return "once, afterwards"
    return f"{openings} times, so this score is no longer unbiased"


def _paper(data: StudyData) -> str:
    if data.final.paper is None:
        return ""
    return " (not counting the trainings of the paper protocol, which are selected on test)"


def _size(data: StudyData) -> str:
    """Dialogues and utterances of the test split, if they are known."""
    splits: dict[str, Any] = (data.facts.get("corpus") or {}).get("splits", {})
    if "test" not in splits:
        return ""
    dialogues, utterances = splits["test"]["dialogues"], splits["test"]["utterances"]
    return f" ({counted(dialogues, 'dialogue')}, {counted(utterances, 'utterance')})"
