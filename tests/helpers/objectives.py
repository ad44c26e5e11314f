"""A search problem whose optimum is known: a small conditional space and noise-free learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from benchmarks.efficiency.simulator import Curve, Epoch
from benchmarks.efficiency.surrogate import CurveTable, read_table
from search.space.space import Space, read_space

EPOCHS = 27
#: The score of the best configuration after its last epoch, which is its best epoch.
OPTIMUM = 0.9
#: That configuration.
BEST = {
    "lr": 1e-5 * 10**2.8, "dropout": 0.15, "backbone": "M3Net", "num_L": 4, "use_gumbel": True, "tau": 0.143,
}  # fmt: skip
BACKBONES = {"M3Net": 0.0, "GAT": 0.03, "GCN": 0.08, "MMGCN": 0.12}

TEXT = f"""
[study]
dataset = "MELD"
features = "open"

[fixed]
epochs = {EPOCHS}
modals = "ld"

[space.lr]
type = "float"
low = 1e-5
high = 1e-1
log = true

[space.dropout]
type = "float"
low = 0.0
high = 0.6

[space.backbone]
type = "choice"
values = ["GCN", "GAT", "M3Net", "MMGCN"]

[space.num_L]
type = "int"
low = 1
high = 6

[space.use_gumbel]
type = "choice"
values = [true, false]

[space.tau]
type = "float"
low = 0.05
high = 1.0
log = true
when = {{ use_gumbel = true }}

[scheduler]
name = "none"
"""


def make_space(folder: Path) -> Space:
    """The space, as a file in `folder`."""
    path = folder / "space.toml"
    path.write_text(TEXT, encoding="utf-8")
    return read_space(path)


def loss(config: Mapping[str, Any]) -> float:
    """How far the last epoch's score is from OPTIMUM; 0 for BEST only."""
    lr = math.log10(config["lr"] / 1e-5) / 4 - 0.7
    dropout = config["dropout"] / 0.6 - 0.25
    tau = math.log(config["tau"] / 0.143) / math.log(20)
    numbers = lr**2 + 0.6 * dropout**2 + 0.4 * lr * dropout + 0.3 * ((config["num_L"] - 4) / 5) ** 2
    gumbel = 0.5 * tau**2 if config["use_gumbel"] else 0.06
    return numbers + BACKBONES[config["backbone"]] + gumbel


def objective(config: Mapping[str, Any]) -> Curve:
    """Scores that rise to ``OPTIMUM - loss``: the higher the learning rate the sooner, so curves cross."""
    slowness = 1.5 + 6 * (1 - math.log10(config["lr"] / 1e-5) / 4)
    left = [math.exp(-epoch / slowness) for epoch in range(1, EPOCHS + 1)]
    end, seconds = OPTIMUM - loss(config), 1 + config["num_L"] / 2
    return [Epoch(end - 0.3 * (part - left[-1]), seconds) for part in left]


def make_table(space: Space, count: int = 100) -> CurveTable:
    """`count` random configurations of the problem, the first five with three seeds."""
    chance = np.random.default_rng(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rows = []
    for number in range(count):
        params = space.suggest(study.ask())
        curve = objective({"tau": 1.0} | params)
        for seed in range(3 if number < 5 else 1):
            noise = 0.0 if seed == 0 else 0.01 * chance.standard_normal()
            for epoch, (score, seconds) in enumerate(curve, 1):
                row = {"number": number, "seed": seed, "epoch": epoch, "weighted_f1": score + noise}
                rows.append(row | params | {"seconds": seconds, "commit": "abc", "machine": "a CPU"})
    return read_table(pd.DataFrame(rows), space)
