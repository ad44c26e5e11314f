"""A study that a test plays, without Ray and training: its events, the files of its workers, and its end."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import optuna

from rigsl.config import from_mapping
from rigsl.files import write_text
from search import run_folder
from search.execution.listener import Listener
from search.execution.searcher import StudySearcher
from search.export import best as export
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.record import learning_curve, record
from search.record.trial_report import TrialReport
from search.study import write_folder


class PlayedStudy:
    """The study `name` in the working directory `home`; a second object of that name resumes it.

    Args:
        home: made by `write_home`, and the working directory.
        uri: of MLflow.
        name: of the study.
        storage: of the record; None: a journal.
    """

    def __init__(self, home: Path, uri: str, name: str = "one", storage: str | None = None) -> None:
        options = SearchOptions(
            space=home / "space.toml",
            data_dir=home / "data",
            trials=50,
            study=name,
            tracking_uri=uri,
            storage=storage,
        )
        if (home / "runs" / name).exists():
            options = dataclasses.replace(options, study=None, resume=name, space=None)
        self.plan: Plan = prepare(options)
        self.folder = self.plan.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        opened = record.open_record(self.folder, name, self.plan.storage)
        self.study: optuna.Study = write_folder(self.plan, opened)

    def play(self, listeners: Sequence[Listener], trials: int, *, last: str = "", epochs: int = 3) -> None:
        """Run this many `trials`; the `last` one ends (""), breaks ("failed") or goes on ("running")."""
        searcher = StudySearcher(
            self.study,
            self.plan.space,
            sampler="random",
            seed=0,
            budget=self.plan.budget,
            workers=1,
            overrides={"epochs": self.plan.epochs},
            trials=self.folder / "trials",
            listeners=listeners,
        )
        for index in range(trials):
            given = searcher.suggest(str(index))
            self._train(searcher, str(index), given, epochs, last if index == trials - 1 else "")

    def _train(self, searcher: StudySearcher, trial: str, given: dict, epochs: int, last: str) -> None:
        folder = run_folder.trial_folder(self.folder, given["number"])
        folder.mkdir(exist_ok=True)
        config = from_mapping(given["config"], "a test")
        write_text(folder / "config.toml", config.to_toml())
        lines = learning_curve.read_curve(folder)
        for epoch in range(len(lines) + 1, epochs + 1):
            score = 0.1 * epoch + 0.01 * (3 * given["number"] % 7)  # the best is not the last
            lines.append(
                {
                    "epoch": epoch,
                    "time": round(time.time(), 3),
                    "best_weighted_f1": score,
                    "best_epoch": epoch,
                    "epoch_seconds": 0.25,
                    "train_loss": 1 / epoch,
                    "val_accuracy": score,
                    "val_macro_f1": score / 2,
                }
            )
            learning_curve.append_epoch(folder, lines[-1])
            if epoch < epochs:
                searcher.on_trial_result(trial, TrialReport.from_curve(lines).to_ray())
        if last == "failed":
            searcher.on_trial_complete(trial, {"ended": "failed", "reason": "diverged: loss is nan"})
        elif last != "running":
            ended = "by itself" if given["number"] % 2 else ""
            searcher.on_trial_complete(trial, TrialReport.from_curve(lines).to_ray() | {"ended": ended})

    def finish(self) -> export.ExportedModel:
        """The end of a study: result and report."""
        best = record.winner(self.study)
        counts = {name: count for name, count in record.counts(self.study).items() if name != "running"}
        scores = {
            name: 0.25 + 0.01 * sum(counts.values()) for name in ("weighted_f1", "macro_f1", "accuracy")
        }
        metrics = {
            "trial": best.number,
            "trials": counts,
            "ending": "all done",
            "validation": scores,
            "test": scores,
        }
        write_text(self.folder / "best" / run_folder.METRICS, json.dumps(metrics))
        write_text(self.folder / "report.html", f"{counts}")
        self.study.set_user_attr(record.STANDING, "finished: all done")
        return export.ExportedModel(self.folder / "best", metrics)
