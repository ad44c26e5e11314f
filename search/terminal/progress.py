"""What the terminal shows while a study runs: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from search.confirm.trainings import Result
from search.plan.plan import Plan
from search.record import record
from search.record.states import FAILED, state_name
from search.space.budget import minutes_in_words

#: Parameters that a line about a trial names.
KEY_PARAMETERS = ("hidden_dim", "lr", "batch_size", "num_L", "num_K", "tau")


class Progress:
    """A listener that shows the study; a context manager that owns the terminal meanwhile."""

    def __init__(
        self, plan: Plan, study: optuna.Study, seconds: Callable[[], float], console: Console | None = None
    ) -> None:
        self.plan, self.study, self.seconds = plan, study, seconds
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._counts = record.counts(study)
        self._best = record.winner(study)
        self._running: dict[int | str, Mapping[str, float]] = {}
        self._phase = "starting the workers"
        self._live = Live(
            get_renderable=self._panel, console=self.console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """A line for a trial that goes on; a new one shows when it ends."""
        self._phase = "searching"
        self._running[trial.number] = {}
        if resumed:
            self._line(f"trial {trial.number} goes on after epoch {trial.last_step or 0}")

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """The trial's place in the panel."""
        self._running[number] = metrics

    def finished(self, trial: FrozenTrial) -> None:
        """A line for every end, and for every new best."""
        self._running.pop(trial.number, None)
        self._counts = record.counts(self.study)
        best, before = record.winner(self.study), self._best
        self._best = best
        news = best is not None and best.number == trial.number and (
            before is None or (record.score(best) or 0) > (record.score(before) or 0) or trial is best
        )  # fmt: skip
        self._line(describe(trial) + (", new best" if news else ""))

    def ending(self, ending: str) -> None:
        """The search stops; the workers finish the epochs that they are in."""
        self._phase = f"stopping: {ending}"
        again = " (once more to stop at once)" if ending == "interrupted" else ""
        self._line(f"stopping: {ending}{again}")

    def note(self, text: str) -> None:
        """A line about something other than a trial."""
        self._line(text)

    def phase(self, text: str) -> None:
        """The search is over; what follows is this."""
        self._phase = text
        self._running.clear()
        self._line(text)

    def job_epoch(self, label: str, metrics: Mapping[str, float]) -> None:
        """A training of the final stage, in the panel."""
        self._running[label] = metrics

    def job_ended(self, label: str, result: Result) -> None:
        """A line for every end of such a training."""
        self._running.pop(label, None)
        told = f"failed: {result.reason}" if result.score is None else f"{result.score:.4f}"
        self._line(f"{label}: {told}")

    def _line(self, text: str) -> None:
        minutes, seconds = divmod(int(self.seconds()), 60)
        self.console.print(Text(f"{minutes:3d}:{seconds:02d}  {text}"))
        if not self.console.is_terminal:
            sys.stdout.flush()

    def _panel(self) -> Panel:
        counts = " · ".join(f"{count} {name}" for name, count in self._counts.items() if name != "running")
        parts: list[Any] = [
            Text(f"{self._phase} · {len(self._running)} running · {counts}"),
            self._best_line(),
        ]
        parts.append(Text(self._time_line()))
        if self._running:
            parts.append(self._running_table())
        return Panel(Group(*parts), title=self.plan.name, title_align="left", border_style="cyan")

    def _best_line(self) -> Text:
        if self._best is None:
            return Text("no score yet")
        return Text(
            f"best {record.score(self._best):.4f} · trial {self._best.number} · {named(self._best)}", "bold"
        )

    def _time_line(self) -> str:
        used, budget = self.seconds(), self.plan.budget
        line = f"{minutes_in_words(used / 60)} used of {budget.describe()}"
        if budget.minutes is not None:
            left = max(0.0, 60 * budget.minutes - used)
            line += f" · until {time.strftime('%H:%M:%S', time.localtime(time.time() + left))}"
        return line

    def _running_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        for name in ("trial", "epoch", "weighted F1", "best", "loss"):
            table.add_column(name, justify="right")
        for number, metrics in list(self._running.items())[:16]:
            row = (
                f"{int(metrics['epoch'])}/{self.plan.epochs}",
                f"{metrics['val_weighted_f1']:.4f}",
                f"{metrics['best_weighted_f1']:.4f}",
                f"{metrics['train_loss']:.3f}",
            ) if metrics else ("-", "-", "-", "-")  # fmt: skip
            table.add_row(str(number), *row)
        return table


def describe(trial: FrozenTrial) -> str:
    """One line about a finished trial."""
    attributes = trial.user_attrs
    value, epochs = record.score(trial), attributes.get("epochs", 0)
    took = f"{attributes['seconds']:.0f} s" if "seconds" in attributes else ""
    state = state_name(trial)
    if state == FAILED:
        return f"trial {trial.number} {state}: {attributes.get(record.REASON, 'unknown reason')}"
    score = "no epoch" if value is None else f"{value:.4f}"
    return f"trial {trial.number} {state:8s} {score} after {epochs} epochs, {took} ({named(trial)})"


def named(trial: FrozenTrial) -> str:
    """The key parameters of a trial: ``lr 0.001, num_L 2``."""
    shown = [name for name in KEY_PARAMETERS if name in trial.params]
    return ", ".join(f"{name} {_short(trial.params[name])}" for name in shown)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
