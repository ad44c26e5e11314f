"""What every change from the baseline to the winner gained, and the simplest configuration."""

from __future__ import annotations

from rigsl.wording import DASH, counted, percent, points
from search.confirm.final_record import StepRecord
from search.report.data import StudyData
from search.report.format import value_text
from search.report.html import note, paragraph, table
from search.trust.path import simplest_in_words

METHOD = (
    "Every configuration was trained with the finalists' seeds{folds}; the next change is the one for which "
    "the surrogate of the search predicts most. Gain: over the row before, in points, ± its standard error. "
    "What a change gains depends on those before it. Its trainings were not used to choose anything."
)


def content(data: StudyData) -> str:
    """The section."""
    explanation = data.final.explanation
    if explanation is None:
        return note("Not asked for: --explain trains the path from the baseline to the winner.")
    if len(explanation.steps) < 2:
        return note("The baseline itself won: there is nothing to explain.")
    rows = [
        (str(number), _changes(step) or "baseline", percent(step.mean), _gain(step))
        for number, step in enumerate(explanation.steps)
    ]
    finalists = data.final.finalists
    folds = " and on their folds" if finalists is not None and finalists.folds else ""
    return (
        table(("", "change", "weighted F1", "gain"), rows, words=(1,), marked=explanation.simplest)
        + paragraph(simplest_in_words(explanation.simplest, len(explanation.steps) - 1))
        + note(f"{counted(explanation.trainings, 'training')}. {METHOD.format(folds=folds)}")
    )


def _changes(step: StepRecord) -> str:
    return ", ".join(
        f"{name}: {value_text(before)} → {value_text(after)}"
        for name, (before, after) in step.changes.items()
    )


def _gain(step: StepRecord) -> str:
    if step.gain is None:
        return ""
    return f"{points(step.gain)} ± {DASH if step.error is None else f'{100 * step.error:.2f}'}"
