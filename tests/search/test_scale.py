"""A study of thousands of trials: it ends, the driver stays small, and proposals stay quick."""

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from benchmarks.simulator import Curve, Epoch, Job, Limits, RayMethod, our_method, simulate
from search import record
from search.keeper import Clock, Keeper
from search.runtime import ROOT
from search.space import Schedule, Space, read_space
from search.widen import distribution

from .synthetic import make_space

TRIALS, WORKERS = 2000, 8


def curve(config: dict) -> Curve:
    """A trial of 12 instant epochs, whose score depends on some parameters."""
    score = 0.6 - abs(np.log10(config["lr"] / 3e-4)) * 0.1 - (config["dropout"] - 0.3) ** 2
    return [Epoch(float(score) - 0.1 / epoch, 1.0) for epoch in range(1, 13)]


class Timed(RayMethod):
    """Measures the CPU seconds of every proposal, whatever else the machine does."""

    seconds: list[float]

    def suggest(self) -> Job | None:
        start = time.process_time()
        job = super().suggest()
        if job is not None:
            self.seconds.append(time.process_time() - start)
        return job


def run(study: optuna.Study, folder: Path, space: Space, sampler: str, trials: int, grace: int = 3) -> float:
    """So many trials more in `study`; the median of the CPU seconds of a proposal."""
    method = our_method(
        study, space, sampler=sampler, schedule=Schedule("asha", grace=grace), workers=WORKERS,
        listeners=[Keeper(study, folder, Clock())],
    )  # fmt: skip
    timed = Timed(method.searcher, method.scheduler, method.configure)
    timed.seconds = []
    simulate(timed, curve, workers=WORKERS, limits=Limits(trials=trials))
    assert len(timed.seconds) == trials
    return float(np.median(timed.seconds))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """In a journal, whose disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    return record.open_record(tmp_path, "large")


def test_a_study_of_2000_trials_ends(study: optuna.Study, tmp_path: Path) -> None:
    """Most of them random, for the test's own sake: to the record, all samplers' trials are the same."""
    space = make_space(tmp_path)
    run(study, tmp_path, space, "random", TRIALS - 200, grace=1)
    run(study, tmp_path, space, "tpe", 200, grace=1)
    counts = record.counts(record.open_record(tmp_path, "large"))
    assert counts["complete"] + counts["pruned"] == TRIALS
    assert min(counts["complete"], counts["pruned"]) > 100


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


def test_a_large_study_of_22_parameters_stays_small_and_quick(study: optuna.Study, tmp_path: Path) -> None:
    space = read_space(ROOT / "spaces" / "meld.toml")
    fill(study, space, TRIALS)
    run(study, tmp_path, space, "random", 20)
    tracemalloc.start()
    run(study, tmp_path, space, "random", 100)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown / 100 < 50_000
    for sampler, seconds in {"gp": 0.3, "tpe": 0.1, "cmaes": 0.1}.items():
        assert run(study, tmp_path, space, sampler, 30) < seconds
