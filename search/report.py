"""``report.html``, one page that needs nothing else, and ``history.png``."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.files import write_text
from search import environment, record
from search.budget import minutes_in_words
from search.corpora import features_in_words
from search.export import Exported
from search.plan import Plan

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0 } td, th { padding: .2rem .9rem .2rem 0; text-align: left }
th { border-bottom: 1px solid #bbb; font-weight: 600 } td { font-variant-numeric: tabular-nums }
.claim { font-size: 1.1rem; border-left: 4px solid #2a7; padding-left: .8rem } code { background: #f3f3f3 }
.note { color: #666 }
"""


def write_report(plan: Plan, study: optuna.Study, exported: Exported | None) -> Path:
    """Write ``report.html`` and ``history.png`` into the run folder; both cope with few or no trials."""
    parts = [
        f"<h1>{html.escape(plan.name)}</h1>",
        f'<p class="claim">{html.escape(claim(plan, study, exported))}</p>',
        _scores(exported),
        _best(study),
        _states(study),
        *_figures(study),
        _setup(plan, study, exported),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(plan.name)}</title>"
    path = plan.folder / "report.html"
    write_text(path, f"{page}<style>{_STYLE}</style><body>{''.join(parts)}</body></html>")
    draw_history(study, plan.folder / "history.png")
    return path


def claim(plan: Plan, study: optuna.Study, exported: Exported | None) -> str:
    """What the study found, in one sentence that stays true out of its context."""
    counts = record.counts(study)
    total = counts["complete"] + counts["pruned"] + counts["failed"]
    if exported is None:
        return f"None of {total} trials finished an epoch; there is no result."
    score, test = exported.validation["weighted_f1"], exported.test["weighted_f1"]
    trial, whole = exported.metrics["trial"], exported.metrics["trial_complete"]
    cut = "" if whole else " (cut off before its last epoch)"
    return (
        f"The best of {total} trials on {plan.corpus.name}, trial {trial}{cut}, reaches a weighted F1 of "
        f"{100 * score:.2f} % on validation, on which it was chosen, and of {100 * test:.2f} % on test, "
        f"which {_opened(exported)}; one seed ({plan.seed})."
    )


def _opened(exported: Exported) -> str:
    tested = exported.metrics["openings"]
    if len(tested) == 1:
        return "was looked at for this checkpoint only"
    return f"was looked at {len(tested)} times, as the study was resumed after its end"


def _scores(exported: Exported | None) -> str:
    if exported is None:
        return ""
    names = {"weighted_f1": "weighted F1", "macro_f1": "macro F1", "accuracy": "accuracy"}
    rows = [(title, exported.validation[name], exported.test[name]) for name, title in names.items()]
    body = [(title, f"{100 * left:.2f} %", f"{100 * right:.2f} %") for title, left, right in rows]
    single = [(f"F1 of {name}", "", f"{100 * value:.2f} %") for name, value in exported.test["f1"].items()]
    return "<h2>Scores</h2>" + _table(("", "validation", "test"), body + single)


def _best(study: optuna.Study) -> str:
    best = record.winner(study)
    if best is None:
        return ""
    baseline = next((trial for trial in record.finished(study) if trial.number == 0), None)
    names = sorted(best.params)
    rows = [
        (name, _text(best.params[name]), _text(baseline.params.get(name)) if baseline else "")
        for name in names
    ]
    scores = ("validation weighted F1", _score(best), _score(baseline) if baseline else "")
    title = (f"trial {best.number} (best)", "trial 0 (baseline)")
    return "<h2>Best configuration</h2>" + _table(("", *title), [scores, *rows])


def _states(study: optuna.Study) -> str:
    counts = record.counts(study)
    rows = [(name, str(count)) for name, count in counts.items()]
    ended = [trial for trial in record.finished(study) if record.REASON in trial.user_attrs]
    reasons = [
        (str(trial.number), trial.state.name.lower(), _score(trial), str(trial.user_attrs[record.REASON]))
        for trial in sorted(ended, key=lambda trial: trial.number)
    ]
    listed = _table(("trial", "state", "best score", "reason"), reasons) if reasons else ""
    return "<h2>Trials</h2>" + _table(("state", "trials"), rows) + listed


def _figures(study: optuna.Study) -> list[str]:
    """The interactive plots; one that cannot be drawn from so few trials says so."""
    import plotly.io
    from optuna import visualization as plots

    shown = _shown(study)
    complete = [trial for trial in shown.trials if trial.state == TrialState.COMPLETE]
    curves = any(trial.intermediate_values for trial in shown.trials)
    drawn: list[tuple[str, Callable[[], Any], bool]] = [
        ("Best score over trials", lambda: plots.plot_optimization_history(shown), len(complete) >= 1),
        ("Best score after each epoch", lambda: plots.plot_intermediate_values(shown), curves),
        ("Importance of parameters", lambda: plots.plot_param_importances(shown), len(complete) >= 4),
        ("Parameters and score", lambda: plots.plot_slice(shown), len(complete) >= 2),
        ("Parallel coordinates", lambda: plots.plot_parallel_coordinate(shown), len(complete) >= 2),
        ("Timeline", lambda: plots.plot_timeline(shown), bool(shown.trials)),
    ]
    parts, library = [], True
    for title, draw, enough in drawn:
        parts.append(f"<h2>{title}</h2>")
        try:
            with warnings.catch_warnings():  # few trials, experimental plots: the page says what it lacks
                warnings.simplefilter("ignore")
                figure = draw() if enough else None
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            parts.append(f'<p class="note">Not drawn: {html.escape(str(error))}</p>')
            continue
        if figure is None:
            parts.append(f'<p class="note">Too few complete trials ({len(complete)}) to draw this.</p>')
            continue
        figure.update_layout(title=None, margin={"t": 20})
        parts.append(plotly.io.to_html(figure, full_html=False, include_plotlyjs=library))
        library = False
    return parts


def _shown(study: optuna.Study) -> optuna.Study:
    """A copy in memory without repetitions and unfinished trials."""
    shown = optuna.create_study(direction="maximize", study_name=study.study_name)
    shown.add_trials(sorted(record.finished(study), key=lambda trial: trial.number))
    return shown


def _setup(plan: Plan, study: optuna.Study, exported: Exported | None) -> str:
    corpus = plan.corpus
    sizes = ", ".join(f"{split} {corpus.dialogues(split).size}" for split in ("train", "dev", "test"))
    rows = [
        ("corpus", f"{corpus.name}; dialogues: {sizes}; content {corpus.content_hash()[:12]}"),
        ("features", features_in_words(corpus, plan.features)),
        (
            "protocol",
            "trained on train; epochs, pruning and configurations chosen on dev; test opened at the end",
        ),
        (
            "search space",
            f"{plan.space.path.name}, {len(plan.space.parameters)} parameters, {plan.space.content_hash}",
        ),
        ("sampler, scheduler", f"{plan.sampler}, {plan.schedule.name}"),
        ("seed", str(plan.seed)),
        ("workers", plan.workers.describe()),
        ("time of the search", minutes_in_words(record.seconds(study) / 60)),
        ("commit", environment.commit()),
        ("versions", ", ".join(f"{name} {version}" for name, version in environment.versions().items())),
    ]
    if exported is not None:
        rows.append(
            ("train it again", f"python run_search.py --rerun {plan.folder.parent.name}/{plan.name}/best")
        )
    return "<h2>Data, protocol, setup</h2>" + _table(("", ""), rows)


def draw_history(study: optuna.Study, path: Path) -> None:
    """Scores over trials as a picture: complete, pruned, and the best so far."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    trials = sorted(record.finished(study), key=lambda trial: trial.number)
    for state, label, colour in (
        (TrialState.PRUNED, "pruned", "#bbb"),
        (TrialState.COMPLETE, "complete", "#27a"),
    ):
        scored = [(trial.number, record.score(trial)) for trial in trials if trial.state == state]
        points = [(number, 100 * value) for number, value in scored if value is not None]
        if points:
            axes.scatter([x for x, _ in points], [y for _, y in points], s=22, color=colour, label=label)
    best, steps = 0.0, []
    for trial in trials:
        if (value := record.score(trial)) is not None:
            best = max(best, value)
            steps.append((trial.number, 100 * best))
    if steps:
        axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color="#d62", label="best")
        axes.legend(frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel="validation weighted F1 (%)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _score(trial: FrozenTrial) -> str:
    value = record.score(trial)
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
