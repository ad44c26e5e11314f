"""The report of a trial after an epoch, on its way from the worker to the record, MLflow and the terminal.

A worker writes every epoch as a line of ``epochs.jsonl``. `TrialReport.from_curve` makes the report of the
newest line, `to_ray` the flat dict that Ray Tune carries to the driver, `from_ray` the report again. Ray's
schedulers read two keys of that dict: ``epoch`` and METRIC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.record.learning_curve import METRIC, Line

#: Values of `TrialReport.ended`: the last epoch is done (or early stopping, or the target), or an error came.
BY_ITSELF, FAILED = "by itself", "failed"
#: A further one: its files could not be written. That is no fault of the trial, and it has not ended.
NOT_WRITTEN = "not written"
#: Why a trial failed whose worker sends no report any more: Ray tries once again.
WORKER_LOST = "worker lost twice (killed, out of memory, or its machine is gone)"
#: The fields that summarise a training: in Ray's dict and in the trial's user attributes under their names.
SUMMARY = ("epochs", "seconds", "best_epoch", "accuracy", "macro_f1")

_PREFIX = "metrics/"  #: of the epoch's metrics in Ray's dict


@dataclass(frozen=True)
class TrialReport:
    """The numbers of a trial after an epoch; None: not known, as when the trial failed."""

    epoch: int = 0  #: the epoch that has ended; 0: none, the report is that of a failure
    score: float = math.nan  #: best validation weighted F1 so far
    epochs: int | None = None  #: trained so far
    seconds: float | None = None  #: training time so far
    best_epoch: int | None = None
    accuracy: float | None = None  #: on validation, at the best epoch
    macro_f1: float | None = None  #: on validation, at the best epoch
    metrics: Mapping[str, float] = field(default_factory=dict)  #: the epoch's line of ``epochs.jsonl``
    ended: str = ""  #: empty while the trial goes on; else BY_ITSELF or FAILED
    reason: str = ""  #: why it failed; while it goes on: why its worker must end, and another one takes over
    host: str = ""  #: machine that computed it: name and address; known to the driver only
    gpu: str = ""  #: its GPU, as that machine numbers them

    @property
    def done(self) -> bool:
        """Whether no further epoch follows."""
        return bool(self.ended)

    @property
    def failure(self) -> str:
        """Why the trial failed; empty where it did not."""
        if self.ended == FAILED:
            return self.reason or "unknown reason"
        diverged = self.ended == BY_ITSELF and not math.isfinite(self.score)
        return "diverged: its score is not a number" if diverged else ""

    def attributes(self) -> dict[str, Any]:
        """What the record keeps of it as user attributes of the trial: SUMMARY, host and GPU, if known."""
        summary = {name: getattr(self, name) for name in SUMMARY}
        known = {name: value for name, value in summary.items() if value is not None}
        return known | {name: text for name, text in (("host", self.host), ("gpu", self.gpu)) if text}

    def to_ray(self) -> dict[str, Any]:
        """The flat dict that a Ray trainable returns; Ray itself adds the host."""
        result: dict[str, Any] = {"epoch": self.epoch, METRIC: self.score} if self.epoch else {}
        result |= {name: value for name, value in self.attributes().items() if name != "host"}
        result |= {_PREFIX + name: value for name, value in self.metrics.items()}
        result |= {"done": self.done, "ended": self.ended}
        return result | ({"reason": self.reason} if self.reason else {})

    @classmethod
    def from_ray(cls, result: Mapping[str, Any]) -> TrialReport:
        """The report in what Ray hands to searchers and schedulers."""
        return cls(
            epoch=int(result.get("epoch", 0)),
            score=float(result.get(METRIC, math.nan)),
            **{name: result[name] for name in SUMMARY if name in result},
            metrics={
                name.removeprefix(_PREFIX): value
                for name, value in result.items()
                if name.startswith(_PREFIX)
            },
            ended=str(result.get("ended", "")),
            reason=str(result.get("reason", "")),
            host=f"{result['hostname']} ({result['node_ip']})" if "hostname" in result else "",
            gpu=str(result.get("gpu", "")),
        )

    @classmethod
    def from_curve(cls, lines: Sequence[Line]) -> TrialReport:
        """The report after the last epoch of `lines`, which are a trial's learning curve so far."""
        last = lines[-1]
        best = lines[int(last["best_epoch"]) - 1]
        return cls(
            epoch=last["epoch"],
            score=last["best_weighted_f1"],
            epochs=last["epoch"],
            seconds=sum(line["epoch_seconds"] for line in lines),
            best_epoch=int(last["best_epoch"]),
            accuracy=best["val_accuracy"],
            macro_f1=best["val_macro_f1"],
            metrics={name: value for name, value in last.items() if name != "epoch"},
        )
