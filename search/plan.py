"""From what the user asks for to a checked plan: all mistakes are found before anything is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rigsl.config import read_toml
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from search.budget import Budget, read_budget
from search.corpora import find_corpus
from search.machine import Workers, plan_workers
from search.mlflow_store import check_uri
from search.record import JOURNAL
from search.runtime import ROOT
from search.sampler import SAMPLERS
from search.space import SCHEDULERS, Schedule, Space, read_space
from search.wishes import Wishes, check_free, check_name, free_folder

TRACKING = "sqlite:///mlflow.db"
SPACE, STUDY, BEST = "space.toml", "study.toml", "best"


@dataclass(frozen=True)
class Plan:
    """A study, ready to run."""

    name: str
    folder: Path  #: runs/<study>, absolute
    resumed: bool
    space: Space
    corpus: Corpus  #: with test labels; the search itself gets it without them
    features: str
    budget: Budget
    schedule: Schedule
    sampler: str
    seed: int
    epochs: int
    workers: Workers
    tracking_uri: str
    ray_address: str | None

    def options(self) -> dict[str, Any]:
        """What ``study.toml`` keeps, so that a resume goes on in the same way."""
        limits = {name: value for name, value in dataclasses.asdict(self.budget).items() if value is not None}
        return {
            "study": self.name,
            "dataset": self.space.dataset,
            "features": self.features,
            "sampler": self.sampler,
            "scheduler": self.schedule.name,
            "seed": self.seed,
            "epochs": self.epochs,
            "tracking_uri": self.tracking_uri,
            "corpus": self.corpus.content_hash(),
            "budget": limits,
        }

    def options_toml(self) -> str:
        """`options` as TOML."""
        return tomli_w.dumps(self.options())


def prepare(wishes: Wishes) -> Plan:
    """Check all of `wishes` and complete them.

    Raises:
        UserError: anything that the user can put right; nothing has been written.
    """
    if wishes.resume is not None:
        return _prepare_resume(wishes)
    if wishes.sampler is not None and wishes.sampler not in SAMPLERS:
        raise UserError(f"--sampler {wishes.sampler}: is not one of {', '.join(SAMPLERS)}")
    check_free(wishes.runs_dir)
    check_uri(wishes.tracking_uri or TRACKING)
    name = check_name(wishes)
    corpus, features = find_corpus(wishes.dataset, wishes.features, wishes.data_dir)
    space = read_space(wishes.space or _space_of(wishes.dataset, features))
    if (space.dataset.upper(), space.features) != (wishes.dataset.upper(), features):
        what = f"the {space.features} features of {space.dataset}"
        raise UserError(f"{space.path}: is a space for {what}; this corpus is {corpus.name} ({features})")
    workers = _workers(wishes, features)
    kind = "gpu" if workers.device == "cuda" else "cpu"
    budget = _limited(space.budgets.get(kind, Budget()), wishes)
    if budget == Budget():
        raise UserError(f"{space.path}: has no [budget.{kind}]; give --trials or --time-budget")
    seed = 0 if wishes.seed is None else wishes.seed
    plan = Plan(
        name=name or "",
        folder=free_folder(wishes, features) if name is None else (wishes.runs_dir / name).resolve(),
        resumed=False,
        space=space,
        corpus=corpus,
        features=features,
        budget=budget,
        schedule=_schedule(space, wishes.scheduler),
        sampler=wishes.sampler or "tpe",
        seed=seed,
        epochs=_epochs(space, wishes.epochs, seed),
        workers=workers,
        tracking_uri=wishes.tracking_uri or TRACKING,
        ray_address=wishes.ray_address,
    )
    _check_fit(plan)
    return dataclasses.replace(plan, name=plan.folder.name)


def _prepare_resume(wishes: Wishes) -> Plan:
    folder = (wishes.runs_dir / str(wishes.resume)).resolve()
    if not (folder / JOURNAL).is_file() or not (folder / STUDY).is_file():
        known = sorted(path.parent.name for path in wishes.runs_dir.glob(f"*/{JOURNAL}"))
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise UserError(f"--resume {wishes.resume}: is not a study in {wishes.runs_dir}; {there}")
    for option in ("space", "sampler", "scheduler", "epochs", "seed", "study"):
        if getattr(wishes, option) is not None:
            raise UserError(f"--{option}: cannot be changed by a resume; start a new study for that")
    check_free(wishes.runs_dir)
    kept = read_toml(folder / STUDY)
    check_uri(wishes.tracking_uri or kept["tracking_uri"])
    corpus, features = find_corpus(kept["dataset"], kept["features"], wishes.data_dir)
    if corpus.content_hash() != kept["corpus"]:
        raise UserError(
            f"--resume {wishes.resume}: the {kept['features']} features are no longer those of the study"
        )
    space = read_space(folder / SPACE)
    plan = Plan(
        name=folder.name,
        folder=folder,
        resumed=True,
        space=space,
        corpus=corpus,
        features=features,
        budget=_limited(read_budget(kept["budget"], f"{folder / STUDY}: [budget]"), wishes),
        schedule=_schedule(space, kept["scheduler"]),
        sampler=kept["sampler"],
        seed=kept["seed"],
        epochs=kept["epochs"],
        workers=_workers(wishes, features),
        tracking_uri=wishes.tracking_uri or kept["tracking_uri"],
        ray_address=wishes.ray_address,
    )
    _check_fit(plan)
    return plan


def _limited(budget: Budget, wishes: Wishes) -> Budget:
    names = ("trials", "minutes", "target", "patience")
    given = {name: getattr(wishes, name) for name in names if getattr(wishes, name) is not None}
    if set(given) & {"trials", "minutes"} and wishes.resume is None:
        # Who asks for 50 trials wants 50, not those that the file's time allows; and the other way round.
        budget = dataclasses.replace(budget, trials=None, minutes=None)
    try:
        return budget.override(**given)
    except UserError as error:
        raise UserError(f"--{str(error).replace('minutes', 'time-budget', 1)}") from None


def _schedule(space: Space, name: str | None) -> Schedule:
    if name is None or name == space.schedule.name:
        return space.schedule
    if name not in SCHEDULERS:
        raise UserError(f"--scheduler {name}: is not one of {', '.join(SCHEDULERS)}")
    return dataclasses.replace(space.schedule, name=name)


def _epochs(space: Space, wish: int | None, seed: int) -> int:
    overrides = {} if wish is None else {"epochs": wish}
    start = space.starts[0] if space.starts else {}
    return space.config(start, seed, **overrides).epochs


def _workers(wishes: Wishes, features: str) -> Workers:
    return plan_workers(
        device=None if wishes.device == "auto" else wishes.device,
        count=wishes.workers,
        cpus=wishes.cpus_per_trial,
        gpus=wishes.gpus_per_trial,
        cluster=wishes.ray_address is not None,
        share=0.25 if features == "open" else 0.5,
    )


def _check_fit(plan: Plan) -> None:
    """The space and the corpus belong together."""
    space, corpus = plan.space, plan.corpus
    parameter = space.parameters.get("modals")
    modals = parameter.values if parameter else (space.config({}, 0).modals,)
    for letters in modals:
        if missing := [letter for letter in letters if letter not in corpus.features]:
            there = "".join(corpus.features)
            raise UserError(
                f"{space.path}: modals = '{letters}', but {corpus.name} has no '{missing[0]}', only '{there}'"
            )
    if corpus.labels.max() < 0 or not all(corpus.dialogues(split).size for split in ("train", "dev", "test")):
        raise UserError(f"corpus {corpus.name}: needs labelled dialogues in train, dev and test")


def _space_of(dataset: str, features: str) -> Path:
    name = f"{dataset.lower()}.toml" if features == "official" else f"{dataset.lower()}_{features}.toml"
    path = ROOT / "spaces" / name
    if not path.is_file():
        raise UserError(f"--dataset {dataset}: there is no search space spaces/{name}; give one with --space")
    return path
