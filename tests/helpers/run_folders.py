"""Run folders as searches leave them, made in milliseconds: trials, final stage, system metrics."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.files import write_text
from rigsl.model.rigsl import RIGSL
from rigsl.training.checkpoint import save_checkpoint
from search import run_folder
from search.confirm import summary
from search.confirm.predictions import SeedRuns
from search.export.best import ExportedModel
from search.plan.plan import Plan
from search.record import record
from search.resources.workers import Workers
from search.run_folder import BEST, SPACE
from search.space.budget import Budget
from search.space.distributions import distribution
from search.space.space import read_space
from tests.helpers.toy_study import SPACE as TINY
from tests.helpers.toy_study import make_corpus

BEGIN = datetime(2026, 3, 1, 12, 0, 0)
TEST_SEEDS, SEEDS = (11, 12, 13), (21, 22, 23)


tiny_corpus = functools.cache(make_corpus)


def make_plan(
    runs: Path, name: str = "one", *, space: str = TINY.format(epochs=6), corpus: Corpus | None = None
) -> Plan:
    """A new run folder without a trial, and its plan."""
    folder = runs / name
    folder.mkdir(parents=True)
    write_text(folder / SPACE, space)
    space_read = read_space(folder / SPACE)
    plan = Plan(
        name=name,
        folder=folder,
        resumed=False,
        space=space_read,
        corpus=corpus or tiny_corpus(),
        features="open",
        budget=Budget(trials=50),
        schedule=space_read.schedule,
        sampler="tpe",
        seed=0,
        epochs=int(space_read.fixed["epochs"]),
        workers=Workers(2, "cpu"),
        tracking_uri="sqlite:///mlflow.db",
    )
    write_text(folder / run_folder.STUDY, plan.options_toml())
    write_text(folder / "environment.json", json.dumps([session(plan)]))
    return plan


def session(plan: Plan) -> dict[str, Any]:
    """What a process that runs the study notes of itself."""
    return {
        "started": BEGIN.astimezone().isoformat(),
        "seed": plan.seed,
        "commit": "0123456789abcdef",
        "versions": {"python": "3.11", "torch": "2.13"},
        "machine": {"device": "cpu", "threads": 1, "processor": "A processor", "torch": "2.13"},
        "cores": 2,
        "workers": plan.workers.count,
        "gpus_per_trial": 0.0,
        "platform": "Linux",
    }


def make_study(plan: Plan, states: str, *, seed: int = 0) -> optuna.Study:
    """The record of `plan` with a trial for every letter: c(omplete), p(runed), f(ailed), r(epeated)."""
    rng = np.random.default_rng(seed)
    study = record.open_record(plan.folder, plan.name)
    ranges = {name: distribution(parameter) for name, parameter in plan.space.parameters.items()}
    for number, letter in enumerate(states):
        params = dict(plan.space.starts[0]) if number == 0 else _params(plan, ranges, rng)
        add_trial(plan, study, letter, {name: ranges[name] for name in params}, params, rng)
    seconds = (
        max((trial.datetime_complete - BEGIN).total_seconds() for trial in study.trials) if states else 0.0
    )
    study.set_user_attr(record.SECONDS, seconds)
    return study


def _params(plan: Plan, ranges: dict[str, BaseDistribution], rng: np.random.Generator) -> dict[str, Any]:
    sampler = optuna.samplers.RandomSampler(seed=int(rng.integers(2**31)))
    params: dict[str, Any] = {}
    for name, parameter in plan.space.parameters.items():
        if parameter.active(params):
            params[name] = sampler.sample_independent(None, None, name, ranges[name])
    return params


def add_trial(
    plan: Plan,
    study: optuna.Study,
    letter: str,
    ranges: dict[str, BaseDistribution],
    params: dict[str, Any],
    rng: np.random.Generator,
    quality: float | None = None,
) -> None:
    """One more trial, as the searcher records it."""
    number = len(study.get_trials(deepcopy=False))
    top = 0.5 - 0.05 * abs(math.log10(params["lr"]) + 2.5) if quality is None else quality
    epochs = {"c": plan.epochs, "p": max(1, plan.epochs // 3), "f": 0, "r": 1}[letter]
    scores = [
        top - 0.2 * math.exp(-epoch / 2) + 0.004 * rng.standard_normal() for epoch in range(1, epochs + 1)
    ]
    best = {epoch: max(scores[:epoch]) for epoch in range(1, epochs + 1)}
    attributes: dict[str, Any] = {record.HASH: f"{number:012x}", "epochs": epochs, "seconds": 2.0 * epochs}
    if best:
        attributes |= {"best_epoch": epochs, "accuracy": top, "macro_f1": top / 2}
    if letter == "p":
        attributes[record.REASON] = f"stopped by the scheduler after epoch {epochs}"
    if letter == "f":
        attributes[record.REASON] = f"crashed: ValueError: <script>alert({number})</script>"
    if letter == "r":
        attributes[record.NOT_RUN] = "same configuration as trial 0"
    start = BEGIN + timedelta(seconds=5 + 6 * number)
    made = create_trial(
        state={
            "c": TrialState.COMPLETE,
            "p": TrialState.PRUNED,
            "f": TrialState.FAIL,
            "r": TrialState.COMPLETE,
        }[letter],
        value=max(best.values()) if letter in "cr" else None,
        params=params,
        distributions=ranges,
        user_attrs=attributes,
        intermediate_values=best,
    )
    made.datetime_start, made.datetime_complete = start, start + timedelta(seconds=2 + 2 * epochs)
    study.add_trial(made)


def make_export(plan: Plan, study: optuna.Study) -> ExportedModel | None:
    """``best/`` of the best trial; None where no trial has a score."""
    best = record.winner(study)
    if best is None:
        return None
    config = RIGSLConfig(**{**plan.space.fixed, **best.params})
    model = RIGSL(config, plan.corpus.schema)
    save_checkpoint(plan.folder / BEST, model)
    scores = {"weighted_f1": record.score(best), "macro_f1": 0.3, "accuracy": 0.5}
    metrics = {
        "corpus": plan.corpus.name,
        "trial": best.number,
        "trials": record.counts(study),
        "seed": plan.seed,
        "validation": scores,
        "test": {**scores, "f1": dict.fromkeys(plan.corpus.classes, 0.4)},
    }
    write_text(plan.folder / BEST / "metrics.json", json.dumps(metrics))
    return ExportedModel(plan.folder / BEST, metrics)


def make_runs(corpus: Corpus, seeds: Sequence[int], skill: float, seed: int) -> SeedRuns:
    """Predictions on the test split, right for a share `skill` of the utterances."""
    rng, dialogues = np.random.default_rng(seed), corpus.dialogues("test")
    labels = corpus.labels[corpus.rows(dialogues)]
    k, u = len(corpus.classes), len(labels)
    hard = rng.random(u)  # an utterance is as hard for every training
    right = hard + 0.15 * rng.standard_normal((len(seeds), u)) < skill
    predicted = np.where(right, labels, np.where(rng.random(u) < 0.5, 0, rng.integers(0, k, size=u)))
    offsets = np.append(0, np.cumsum(corpus.lengths[dialogues]))
    return SeedRuns(predicted.astype(np.int64), labels, offsets, corpus.classes, tuple(seeds))


def make_final(
    plan: Plan,
    study: optuna.Study,
    *,
    skills: tuple[float, float] = (0.7, 0.5),
    openings: int = 1,
    answers: Sequence[str] = (),
    folds: Sequence[int] = (),
) -> dict:
    """``final.json`` and ``predictions.npz`` of a study whose last stage was run.

    Args:
        plan: of the study.
        study: its record.
        skills: shares of utterances that winner and baseline get right, roughly.
        openings: of the test split, beside that of the paper protocol.
        answers: those beside the configuration: "taught", "average".
        folds: on which the finalists are scored; empty: on dev.
    """
    ranked = sorted(record.scored(study), key=lambda trial: -record.score(trial))
    candidates = [_candidate(rank, trial) for rank, trial in enumerate(ranked[:4])]
    cached, *runs = tested(plan.corpus, skills)
    test = copy.deepcopy(cached)  # a test may change it
    test |= {name: copy.deepcopy(answered(plan.corpus, skills, name)) for name in answers}
    if answers:  # as studies of earlier versions have neither
        test |= {"parameters": 123_456, "milliseconds": 0.25}
    winner = ranked[0]
    final = {
        "finalists": {
            "seeds": list(SEEDS),
            "epochs": plan.epochs,
            "candidates": candidates,
            "optimism": None if folds else 0.0123,
            "folds": list(folds),
        },
        "winner": {"trial": winner.number, "config_hash": "a", "config": {}, "params": winner.params},
        "baseline": {"trial": 0, "config_hash": "b", "config": {}, "params": dict(plan.space.starts[0])},
        "test": test,
        "paper": {"seeds": [1, 2], "winner": _paper(0.61), "baseline": _paper(0.58)},
        "openings": [*(_opening(day, "validation") for day in range(openings)), _opening(0, "paper")],
    }
    write_text(plan.folder / "final.json", json.dumps(final))
    save_predictions(plan.folder, *runs)
    return final


@functools.cache
def tested(corpus: Corpus, skills: tuple[float, float]) -> tuple[dict[str, Any], SeedRuns, SeedRuns]:
    """The test part of ``final.json``, and the predictions of winner and baseline."""
    winner, baseline = (make_runs(corpus, TEST_SEEDS, skill, 5 + i) for i, skill in enumerate(skills))
    test = {
        "seeds": list(TEST_SEEDS),
        "winner": dataclasses.asdict(summary.describe(winner)),
        "baseline": dataclasses.asdict(summary.describe(baseline)),
        "difference": dataclasses.asdict(summary.compare(winner, baseline)),
        "validation": {"winner": [0.51, 0.52, 0.53], "baseline": [0.48, 0.5, 0.49]},
    }
    return test, winner, baseline


@functools.cache
def answered(corpus: Corpus, skills: tuple[float, float], name: str) -> dict[str, Any]:
    """The answer "taught" or "average" in the test part of ``final.json``: a little better than trainings."""
    seeds = TEST_SEEDS if name == "taught" else (0,)
    more, validation = (0.1, 0.54) if name == "taught" else (0.2, 0.56)
    winner, baseline = (make_runs(corpus, seeds, skill + more, 15 + i) for i, skill in enumerate(skills))
    return {
        "winner": dataclasses.asdict(summary.describe(winner)),
        "baseline": dataclasses.asdict(summary.describe(baseline)),
        "difference": dataclasses.asdict(summary.compare(winner, baseline)),
        "members": 12,
        "validation": {"winner": [validation] * len(seeds), "baseline": [validation - 0.02] * len(seeds)},
        "parameters": 123_456 if name == "taught" else 12 * 123_456,
        "milliseconds": 0.25 if name == "taught" else 3.0,
        "baseline_members": None if name == "taught" else 5,
    }


def _opening(day: int, protocol: str) -> dict[str, str]:
    at = (BEGIN + timedelta(days=day)).astimezone().isoformat()
    return {"at": at, "what": "winner and baseline", "protocol": protocol}


def _paper(value: float) -> dict[str, Any]:
    return dataclasses.asdict(summary.summary([value, value + 0.01]))


def save_predictions(folder: Path, winner: SeedRuns, baseline: SeedRuns) -> None:
    """``predictions.npz``, as the last stage leaves it."""
    np.savez_compressed(
        folder / "predictions.npz",
        winner=winner.predicted,
        baseline=baseline.predicted,
        labels=winner.labels,
        offsets=winner.offsets,
        classes=np.array(winner.classes),
        winner_seeds=np.array(winner.seeds),
        baseline_seeds=np.array(baseline.seeds),
    )


def _candidate(rank: int, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    score = record.score(trial) or 0.0
    scores = [score - 0.01 * (rank + 1) + 0.004 * i for i in range(1 if rank == 3 else len(SEEDS))]
    described = summary.summary(scores)
    return {
        "trial": trial.number,
        "config_hash": f"{trial.number:012x}",
        "params": trial.params,
        "search_score": score,
        "complete": trial.state == TrialState.COMPLETE,
        "scores": scores,
        "mean": described.mean,
        "std": described.std,
        "standard_error": described.standard_error,
        "state": "winner" if rank == 0 else "stopped" if rank == 3 else "finished",
        "reason": "cannot win any more" if rank == 3 else "",
    }


def write_system_metrics(plan: Plan, seconds: int, gpus: int = 0) -> None:
    """``system.jsonl`` of a search that took this many seconds."""
    rng, lines = np.random.default_rng(0), []
    for second in range(10, seconds, 10):
        line = {"time": BEGIN.timestamp() + second, "seconds": second}
        line["system/cpu_utilization_percentage"] = float(rng.uniform(85, 100))
        line["system/system_memory_usage_percentage"] = float(rng.uniform(30, 35))
        for gpu in range(gpus):
            line[f"system/gpu_{gpu}_utilization_percentage"] = float(rng.uniform(60, 90))
            line[f"system/gpu_{gpu}_memory_usage_percentage"] = 55.0
        lines.append(json.dumps(line))
    write_text(plan.folder / "system.jsonl", "".join(line + "\n" for line in lines))
