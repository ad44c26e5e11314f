"""Measure the time of a proposal in large studies: ``python -m benchmarks.speed.proposals``.

As in a search, the study is stored in a journal file. It holds random trials of MELD's space, two thirds of
them pruned. Further trials, with instant epochs, go through the searcher, the scheduler and the clean-up of
the run folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from rich.console import Console
from rich.table import Table

from benchmarks.efficiency.simulator import (
    Assignment,
    Curve,
    Epoch,
    Limits,
    RayMethod,
    our_method,
    simulate,
)
from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.export.environment import machine
from search.record import record
from search.run_folder import ROOT
from search.samplers.registry import SAMPLERS
from search.space.distributions import distribution
from search.space.schedule import Schedule
from search.space.space import Space, read_space

SPACE = ROOT / "spaces" / "meld.toml"
WORKERS = 8
#: Makes a context manager, which is open while a proposal is made.
Watch = Callable[[], Any]


def curve(config: dict[str, Any]) -> Curve:
    """A learning curve of 12 epochs, whose score depends on some parameters."""
    score = 0.6 - abs(np.log10(config["lr"] / 3e-4)) * 0.1 - (config["dropout"] - 0.3) ** 2
    return [Epoch(float(score) - 0.1 / epoch, 1.0) for epoch in range(1, 13)]


def fill(study: optuna.Study, space: Space, trials: int) -> None:
    """Add random trials to `study`, two thirds of them pruned after three epochs."""
    random_study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = {name: distribution(parameter) for name, parameter in space.parameters.items()}
    for number in range(trials):
        params = space.suggest(random_study.ask())
        scores = [epoch.score for epoch in curve(params)][: 3 if number % 3 else None]
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if number % 3 else TrialState.COMPLETE,
                value=None if number % 3 else scores[-1],
                params=params,
                distributions={name: distributions[name] for name in params},
                intermediate_values=dict(enumerate(scores, start=1)),
                user_attrs={record.HASH: str(number)},
            )
        )


class WatchedMethod(RayMethod):
    """`method`, each proposal of which is made within `watch()`."""

    def __init__(self, method: RayMethod, watch: Watch) -> None:
        super().__init__(method.searcher, method.scheduler, method.configure)
        self._watch = watch

    def suggest(self) -> Assignment | None:
        """The searcher's next proposal."""
        with self._watch():
            return super().suggest()


def propose(
    study: optuna.Study,
    folder: Path,
    space: Space,
    sampler: str,
    trials: int,
    *,
    watch: Watch,
    grace: int = 3,
) -> None:
    """Run `trials` more trials in `study`, whose run folder is `folder`; each proposal within `watch()`."""
    method = our_method(
        study, space, sampler=sampler, schedule=Schedule("asha", grace=grace), workers=WORKERS,
        listeners=[RunFolderCleanup(study, folder, Clock())], seconds=lambda config: 1.0 + config.num_L,
    )  # fmt: skip
    simulate(WatchedMethod(method, watch), curve, workers=WORKERS, limits=Limits(trials=trials))


def seconds(sampler: str, size: int, proposals: int) -> float:
    """Median seconds of a proposal in a study of `size` trials."""
    space, durations = read_space(SPACE), []

    @contextmanager
    def watch() -> Iterator[None]:
        start = time.perf_counter()
        yield
        durations.append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as name:
        study = record.open_record(Path(name), "large")
        fill(study, space, size)
        propose(study, Path(name), space, sampler, proposals, watch=watch)
    return statistics.median(durations)


def report(sizes: Sequence[int], proposals: int) -> None:
    """Measure every sampler in studies of these sizes, and print the table."""
    console = Console(width=100)
    console.print(machine("cpu", 1))
    title = f"Time of a proposal, ms ({len(read_space(SPACE).parameters)} parameters; median of {proposals})"
    table = Table("sampler", title=title)
    for size in sizes:
        table.add_column(f"{size:,} trials", justify="right")
    for sampler in SAMPLERS:
        with console.status(sampler):
            table.add_row(sampler, *(f"{1e3 * seconds(sampler, size, proposals):.0f}" for size in sizes))
    console.print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the time of a proposal in large studies.")
    parser.add_argument("--quick", action="store_true", help="smaller studies and fewer proposals")
    args = parser.parse_args()
    report((50, 100) if args.quick else (100, 500, 2000), 8 if args.quick else 40)


if __name__ == "__main__":
    main()
