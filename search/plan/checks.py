"""Checks of a plan that a new study and a resume share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from search.plan.options import Wishes
from search.plan.plan import Plan
from search.resources.cluster import read_nodes
from search.resources.memory_limit import largest
from search.resources.workers import Workers, plan_workers
from search.run_folder import ROOT
from search.samplers.registry import make_sampler
from search.schedulers.pbt import check_population
from search.space.budget import Budget
from search.space.confirmation import NAMES, FinalOptions
from search.space.schedule import SCHEDULERS, Schedule
from search.space.space import Space


def limited(budget: Budget, wishes: Wishes) -> Budget:
    """The `budget` of a space or a study with the limits that the user gives in place of its own."""
    names = [spec.name for spec in dataclasses.fields(Budget)]
    given = {name: getattr(wishes, name) for name in names if getattr(wishes, name) is not None}
    if set(given) & {"trials", "minutes", "gpu_hours"} and wishes.resume is None:
        # Who asks for 50 trials wants 50, not those that the file's time allows; and the other way round.
        budget = dataclasses.replace(budget, trials=None, minutes=None, gpu_hours=None)
    try:
        return budget.override(**given)
    except UserError as error:
        text = str(error).replace("minutes", "time-budget", 1).replace("gpu_hours", "gpu-hours", 1)
        raise UserError(f"--{text}") from None


def final(options: FinalOptions, wishes: Wishes) -> FinalOptions:
    """The final stage of a space or a study with what the user gives in place of its own."""
    try:
        return options.override({name: getattr(wishes, name) for name in NAMES})
    except UserError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from None


def check_budget(budget: Budget, workers: Workers) -> None:
    """A budget that these workers can use up."""
    if budget.gpu_hours is not None and not workers.gpus:
        raise UserError("--gpu-hours: the trials run on the CPU; limit them with --time-budget or --trials")


def schedule(space: Space, name: str | None) -> Schedule:
    """The schedule of the space, or that of the `name`."""
    if name is None or name == space.schedule.name:
        return space.schedule
    if name not in SCHEDULERS:
        raise UserError(f"--scheduler {name}: is not one of {', '.join(SCHEDULERS)}")
    return dataclasses.replace(space.schedule, name=name)


def epochs(space: Space, wish: int | None, seed: int) -> int:
    """Epochs of a whole trial: the user's wish, or what the space says."""
    overrides = {} if wish is None else {"epochs": wish}
    start = space.starts[0] if space.starts else {}
    return space.config(start, seed, **overrides).epochs


def workers(wishes: Wishes, space: Space, corpus: Corpus) -> Workers:
    """The workers that the user asks for, as far as the machine or the cluster carries them."""
    return plan_workers(
        device=None if wishes.device == "auto" else wishes.device,
        count=wishes.workers,
        cpus=wishes.cpus_per_trial,
        gpus=wishes.gpus_per_trial,
        share=0.25 if space.features == "open" else 0.5,
        nodes=None if wishes.ray_address is None else read_nodes(wishes.ray_address, wishes.runs_dir),
        trial_bytes=lambda device: largest(space, corpus, device),
    )


def check_fit(plan: Plan) -> None:
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
    make_sampler(plan.sampler, plan.seed, 0, space)  # refuses a space that it cannot model
    if plan.schedule.name == "pbt":
        check_population(space, plan.schedule, plan.epochs)
    if corpus.labels.max() < 0 or not all(corpus.dialogues(split).size for split in ("train", "dev", "test")):
        raise UserError(f"corpus {corpus.name}: needs labelled dialogues in train, dev and test")


def space_of(dataset: str, features: str) -> Path:
    """The file of the space that the project has for a dataset."""
    name = f"{dataset.lower()}.toml" if features == "official" else f"{dataset.lower()}_{features}.toml"
    path = ROOT / "spaces" / name
    if not path.is_file():
        raise UserError(f"--dataset {dataset}: there is no search space spaces/{name}; give one with --space")
    return path
