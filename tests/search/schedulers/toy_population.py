"""A small space for population based training, and its study without workers."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from rigsl.config import RIGSLConfig
from search.execution.searcher import StudySearcher
from search.record.learning_curve import METRIC
from search.run_folder import CONFIG as CONFIG_FILE
from search.run_folder import SNAPSHOTS, snapshot_name
from search.schedulers.pbt import Population
from search.space.budget import Budget
from search.space.space import Space

#: Children are compared after every second of nine epochs, in populations of four.
SPACE = """
[study]
dataset = "MELD"
features = "open"
[fixed]
modals = "ld"
hidden_dim = 8
num_K = 1
nodeformer_heads = 1
nb_features_dim = 4
epochs = 9
[space.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true
[space.num_L]
type = "int"
low = 1
high = 3
[space.dropout]
type = "float"
low = 0.0
high = 0.6
step = 0.1
[space.use_gumbel]
type = "choice"
values = [true, false]
[space.gumbel_k]
type = "choice"
values = [1, 2, 4, 8]
when = { use_gumbel = true }
[space.link_loss_epoch]
type = "int"
low = 2
high = 20
[space.nodeformer_dropout]
type = "float"
low = 0.1
high = 0.5
when = { num_L = [2, 3] }
[scheduler]
name = "pbt"
interval = 2
population = 4
quantile = 0.5
"""

#: A configuration of the toy corpus.
CONFIG = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, gumbel_k=2,
    epochs=6, lr=1e-2, batch_size=4, ema=0.5,
)  # fmt: skip


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


class ToyStudy:
    """A study without workers: its trials report the scores that a test gives."""

    def __init__(self, space: Space, trials: Path | None = None, max_trials: int | None = 50) -> None:
        self.study, self.space, self.trials, self.max_trials = new_study(), space, trials, max_trials
        self.names: dict[int, str] = {}  #: number -> Ray's name
        self.resume()

    def resume(self) -> None:
        """As a resume does: everything is made from the record."""
        self.population = Population(
            self.study,
            self.space,
            self.space.schedule,
            seed=3,
            epochs=9,
            trials=self.trials,
            max_trials=self.max_trials,
        )
        self.searcher = StudySearcher(
            self.study, self.space, sampler="random", seed=3, budget=Budget(trials=50), workers=50,
            overrides={}, trials=self.trials,
        )  # fmt: skip

    def start(self) -> dict:
        """Hand out the next trial."""
        name = f"ray{len(self.names)}-{len(self.searcher.live)}"
        given = self.searcher.suggest(name)
        assert isinstance(given, dict)
        self.names[given["number"]] = name
        if self.trials is not None:
            (self.trials / f"{given['number']:04d}").mkdir(parents=True, exist_ok=True)
            config = RIGSLConfig(**given["config"])
            (self.trials / f"{given['number']:04d}" / CONFIG_FILE).write_text(
                config.to_toml(), encoding="utf-8"
            )
        return given

    def report(self, number: int, epoch: int, score: float) -> bool:
        """Report an epoch of a trial, as Ray does; returns whether the scheduler stops the trial."""
        if self.trials is not None and epoch % 2 == 0:
            (self.trials / f"{number:04d}" / snapshot_name(epoch)).touch()
        stopped = self.population.stops(number, epoch, score)
        notify = self.searcher.on_trial_complete if stopped else self.searcher.on_trial_result
        notify(self.names[number], {"epoch": epoch, METRIC: score})
        self.population.reached(number, epoch)
        return stopped

    def snapshots(self) -> set[str]:
        assert self.trials is not None
        return {str(path.relative_to(self.trials)) for path in self.trials.glob(f"*/{SNAPSHOTS}")}

    def waiting(self) -> list[FrozenTrial]:
        return self.study.get_trials(states=[TrialState.WAITING])
