"""A running study on the terminal: a live panel, or plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rigsl.console import LastingOutput, make_console
from rigsl.redaction import redacted
from rigsl.wording import CONTROL, counted
from search.record import record
from search.record.snapshot import StudySnapshot, take_snapshot
from search.record.states import FAILED, RUNNING, state_name
from search.record.trial_report import TrialReport
from search.space.budget import Budget, minutes_in_words
from search.terminal.time_left import ending_time

if TYPE_CHECKING:
    from search.confirm.trainings import JobResult

#: Parameters that a line about a trial names.
KEY_PARAMETERS = ("hidden_dim", "lr", "batch_size", "num_L", "num_K", "tau")
#: Most rows in the panel's table of what is running.
MAX_ROWS = 16


class Progress:
    """A listener that shows the study; a context manager that owns the terminal meanwhile.

    No output, or a terminal that goes away, never stops the study: its lines then go into a log file.

    Args:
        study: its open record; it is read here and not used later.
        seconds: returns the seconds of the search so far, which its budget limits.
        name: of the study.
        budget: its limits.
        epochs: maximum epochs per trial.
        log: a file that takes the lines once the standard output is lost; None: they are dropped.
        console: by default the standard output.
        total_seconds: returns the seconds of search and final stage so far; None: as `seconds`.
    """

    def __init__(
        self,
        study: optuna.Study,
        seconds: Callable[[], float],
        *,
        name: str,
        budget: Budget,
        epochs: int,
        log: Path | None = None,
        console: Console | None = None,
        total_seconds: Callable[[], float] | None = None,
    ) -> None:
        self.total_seconds = total_seconds or seconds
        self.seconds, self.name, self.budget, self.epochs = seconds, name, budget, epochs
        self.console, self._log = console or make_console(), log
        self._snapshot = take_snapshot(study)
        #: Trial number, or label of a training of the final stage -> its last report; None: no epoch yet.
        self._running: dict[int | str, TrialReport | None] = {}
        self._phase = "starting the workers"
        self._live = Live(
            get_renderable=self._panel, console=self.console, refresh_per_second=4, transient=True
        )

    def __enter__(self) -> Progress:
        self._continue_in_log()
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, trial: FrozenTrial, config: Mapping[str, Any], resumed: bool) -> None:
        """Print a line for a resumed trial; a new one is in the panel only."""
        self._phase = "searching"
        self._running[trial.number] = None
        if resumed:
            self.note(f"resuming trial {trial.number} at epoch {(trial.last_step or 0) + 1}")

    def epoch(self, number: int, report: TrialReport) -> None:
        """Update the trial's row in the panel."""
        self._running[number] = report

    def finished(self, trial: FrozenTrial, snapshot: StudySnapshot) -> None:
        """Print a line for the end of a trial, and whether it is the new best one."""
        self._running.pop(trial.number, None)
        self._snapshot = snapshot
        winner = snapshot.winner
        new_best = winner is not None and winner.number == trial.number
        self.note(trial_summary(trial) + (", new best" if new_best else ""))

    def ending(self, ending: str) -> None:
        """Print that the search stops; the workers finish their current epochs."""
        self._phase = f"stopping: {ending}"
        hint = " (once more to stop at once)" if ending == "interrupted" else ""
        self.note(f"stopping: {ending}{hint}")

    def phase(self, text: str) -> None:
        """Print what begins after the search."""
        self._phase = text
        self._running.clear()
        self.note(text)

    def job_started(self, label: str) -> None:
        """Add a training of the final stage to the panel."""
        self._running[label] = None

    def job_epoch(self, label: str, report: TrialReport) -> None:
        """Update the training's row in the panel."""
        self._running[label] = report

    def job_ended(self, label: str, result: JobResult) -> None:
        """Print a line for the end of a training of the final stage."""
        self._running.pop(label, None)
        outcome = f"failed: {result.reason}" if result.score is None else f"{result.score:.4f}"
        self.note(f"{label}: {outcome}")

    def note(self, text: str) -> None:
        """Print a line, after the time of the study so far."""
        minutes, seconds = divmod(int(self.total_seconds()), 60)
        line = Text(f"{minutes:3d}:{seconds:02d}  {redacted(text).translate(CONTROL)}")
        self.console.print(line)
        if self._continue_in_log():
            self.console.print(line)

    def _continue_in_log(self) -> bool:
        """Continue in the log file if the terminal is gone; whether the last line has to be printed again."""
        output = self.console.file
        if self._log is None or not isinstance(output, LastingOutput) or not output.lost:
            return False
        self._live.stop()  # before there is a log: it should not end with a panel
        return output.continue_in(self._log)

    def _panel(self) -> Panel:
        counts = " · ".join(
            f"{count} {state}" for state, count in self._snapshot.counts.items() if state != RUNNING
        )
        lines: list[Any] = [
            Text(f"{self._phase} · {len(self._running)} running · {counts}"),
            self._best_line(),
            Text(self._time_line()),
        ]
        if self._running:
            lines.append(self._running_table())
        return Panel(Group(*lines), title=Text(self.name), title_align="left", border_style="cyan")

    def _best_line(self) -> Text:
        best = self._snapshot.winner
        if best is None:
            return Text("no score yet")
        return Text(f"best {record.score(best):.4f} · trial {best.number} · {key_parameters(best)}", "bold")

    def _time_line(self) -> str:
        used = self.seconds()
        line = f"{minutes_in_words(used / 60)} used of {self.budget.describe()}"
        spent = self._snapshot.spent(used, 0.0)
        if end := ending_time(self.budget, used, spent.scored):
            line += f" · ends {end}"
        return line

    def _running_table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        for title in ("trial", "epoch", "weighted F1", "best", "loss"):
            table.add_column(title, justify="right")
        for label, report in list(self._running.items())[:MAX_ROWS]:
            table.add_row(str(label), *(("-",) * 4 if report is None else self._cells(report)))
        return table

    def _cells(self, report: TrialReport) -> tuple[str, ...]:
        metrics = report.metrics
        return (
            f"{report.epoch}/{self.epochs}",
            f"{metrics['val_weighted_f1']:.4f}",
            f"{report.score:.4f}",
            f"{metrics['train_loss']:.3f}",
        )


def trial_summary(trial: FrozenTrial) -> str:
    """One line about an ended trial: state, score, epochs, seconds, key parameters."""
    attributes, state = trial.user_attrs, state_name(trial)
    if state == FAILED:
        return f"trial {trial.number} {state}: {attributes.get(record.REASON, 'unknown reason')}"
    score = record.score(trial)
    score_text = "no epoch" if score is None else f"{score:.4f}"
    seconds = f", {attributes['seconds']:.0f} s" if "seconds" in attributes else ""
    length = f"after {counted(attributes.get('epochs', 0), 'epoch')}{seconds}"
    return f"trial {trial.number} {state:8s} {score_text} {length} ({key_parameters(trial)})"


def key_parameters(trial: FrozenTrial) -> str:
    """The key parameters of a trial: ``lr 0.001, num_L 2``."""
    names = [name for name in KEY_PARAMETERS if name in trial.params]
    return ", ".join(f"{name} {_short(trial.params[name])}" for name in names)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
