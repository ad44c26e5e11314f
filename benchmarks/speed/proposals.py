"""What a proposal costs in a large study: ``python -m benchmarks.speed.proposals``.

The study lies in a journal, as a search's own does, and holds trials of the main job's space, two thirds of
them stopped early. Further trials, of instant epochs, go through the searcher, the scheduler and the run
folders of a search.
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
    Curve,
    Epoch,
    Job,
    Limits,
    RayMethod,
    our_method,
    simulate,
)
from search.execution.cleanup import Keeper
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
#: A context in which a proposal is made.
Watch = Callable[[], Any]


def curve(config: dict[str, Any]) -> Curve:
    """A trial of 12 instant epochs, whose score depends on some parameters."""
    score = 0.6 - abs(np.log10(config["lr"] / 3e-4)) * 0.1 - (config["dropout"] - 0.3) ** 2
    return [Epoch(float(score) - 0.1 / epoch, 1.0) for epoch in range(1, 13)]


def fill(study: optuna.Study, space: Space, trials: int) -> None:
    """Put random trials into `study`, two thirds of them stopped after three epochs."""
    draw = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {name: distribution(parameter) for name, parameter in space.parameters.items()}
    for number in range(trials):
        params = space.suggest(draw.ask())
        scores = [epoch.score for epoch in curve(params)][: 3 if number % 3 else None]
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if number % 3 else TrialState.COMPLETE,
                value=None if number % 3 else scores[-1],
                params=params,
                distributions={name: drawn[name] for name in params},
                intermediate_values=dict(enumerate(scores, start=1)),
                user_attrs={record.HASH: str(number)},
            )
        )


class Watched(RayMethod):
    """Makes every proposal of `method` in a context."""

    def __init__(self, method: RayMethod, watch: Watch) -> None:
        super().__init__(method.searcher, method.scheduler, method.configure)
        self._watch = watch

    def suggest(self) -> Job | None:
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
    """So many trials more in `study`, whose run folder is `folder`; each proposal made in `watch()`."""
    method = our_method(
        study, space, sampler=sampler, schedule=Schedule("asha", grace=grace), workers=WORKERS,
        listeners=[Keeper(study, folder, Clock())], seconds=lambda config: 1.0 + config.num_L,
    )  # fmt: skip
    simulate(Watched(method, watch), curve, workers=WORKERS, limits=Limits(trials=trials))


def seconds(sampler: str, size: int, proposals: int) -> float:
    """The median of the seconds of a proposal in a study of `size` trials."""
    space, spent = read_space(SPACE), []

    @contextmanager
    def watch() -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent.append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as name:
        study = record.open_record(Path(name), "large")
        fill(study, space, size)
        propose(study, Path(name), space, sampler, proposals, watch=watch)
    return statistics.median(spent)


def report(sizes: Sequence[int], proposals: int) -> None:
    """Run and print."""
    console = Console(width=100)
    console.print(machine("cpu", 1))
    title = f"A proposal, ms ({len(read_space(SPACE).parameters)} parameters; median of {proposals})"
    table = Table("sampler", title=title)
    for size in sizes:
        table.add_column(f"{size:,} trials", justify="right")
    for sampler in SAMPLERS:
        with console.status(sampler):
            table.add_row(sampler, *(f"{1e3 * seconds(sampler, size, proposals):.0f}" for size in sizes))
    console.print(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a proposal costs in a large study.")
    parser.add_argument("--quick", action="store_true", help="smaller studies")
    args = parser.parse_args()
    report((50, 100) if args.quick else (100, 500, 2000), 8 if args.quick else 40)


if __name__ == "__main__":
    main()
