"""Settings and checks that the plans of a new and of a resumed study share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import folds_refused
from rigsl.data.source import has_official_features
from rigsl.errors import UserError
from rigsl.modalities import check_modals
from rigsl.official.flags import official_command
from rigsl.wording import listed
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.resources.cluster import read_nodes
from search.resources.memory_limit import largest
from search.resources.workers import Node, Workers, plan_workers
from search.run_folder import DEFAULT_SPACE, ROOT
from search.samplers.registry import make_sampler
from search.schedulers.pbt import check_pbt
from search.space.budget import Budget
from search.space.confirmation import FOLDS, NAMES, VALIDATIONS, FinalOptions
from search.space.schedule import SCHEDULERS, Schedule
from search.space.space import Space


def limited(budget: Budget, options: SearchOptions) -> Budget:
    """The `budget` of a space or a study, with the limits that the user gives in place of its own."""
    names = ("trials", "minutes", "gpu_hours", "target", "patience")
    limits = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.resume is None:
        if set(limits) & {"trials", "minutes", "gpu_hours"}:
            # A user who asks for 50 trials wants 50, not only those that the space's time budget allows.
            budget = dataclasses.replace(budget, trials=None, minutes=None, gpu_hours=None, least_trials=None)
        else:
            budget = budget.waiting()
    elif "minutes" in limits:
        budget = dataclasses.replace(budget, least_trials=None)
    try:
        return budget.override(**limits)
    except UserError as error:
        text = str(error).replace("minutes", "time-budget", 1).replace("gpu_hours", "gpu-hours", 1)
        raise UserError(f"--{text}") from None


def final(defaults: FinalOptions, options: SearchOptions, corpus: Corpus) -> FinalOptions:
    """The final stage of a space or a study, with what the user gives in place of its own.

    Raises:
        UserError: a value is wrong, or folds are asked for on which no score of this corpus is honest.
    """
    try:
        chosen = defaults.override({name: getattr(options, name) for name in NAMES})
    except UserError as error:
        raise UserError(f"--{str(error).replace('_', '-', 1)}") from None
    folds = FOLDS if chosen.folds is None else chosen.folds
    refused = folds_refused(corpus, folds) if folds else ""
    if refused and chosen.folds is not None:
        raise UserError(f"--folds {folds}: corpus {corpus.name}: {refused}; give 0 for scores on dev")
    return dataclasses.replace(chosen, folds=0 if refused else folds)


def validation_folds(asked: str | None, default: str | None, final: FinalOptions, corpus: Corpus) -> int:
    """The folds of train of which trials leave the first one out; 0: they are scored on dev alone.

    Without a wish of the user or the space, trials leave a fold out where the corpus and the finals allow it,
    and where no trial's own checkpoint is the result.

    Args:
        asked: what the user gives.
        default: what the space says.
        final: the final stage.
        corpus: of the study.

    Raises:
        UserError: folds are asked for on which no score of this corpus is honest, or an unknown word.
    """
    if asked is not None and asked not in VALIDATIONS:
        raise UserError(f"--validation {asked}: is not one of {', '.join(VALIDATIONS)}")
    wish = asked or default
    folds = final.folds or FOLDS
    refused = folds_refused(corpus, folds)
    if wish == "folds" and refused:
        where = "--validation folds" if asked else "[study] validation = folds"
        raise UserError(f"{where}: corpus {corpus.name}: {refused}; give --validation dev")
    if wish is None:
        wish = "folds" if not refused and final.folds and final.test_seeds else "dev"
    return folds if wish == "folds" else 0


def check_budget(budget: Budget, workers: Workers) -> None:
    """Check that these workers can use up the budget.

    Raises:
        UserError: GPU hours are limited, but no trial uses a GPU.
    """
    if budget.gpu_hours is not None and not workers.gpus:
        raise UserError("--gpu-hours: the trials run on the CPU; limit them with --time-budget or --trials")


def schedule(default: Schedule, name: str | None) -> Schedule:
    """The schedule of a space, or that schedule with the scheduler `name` that the user gives."""
    if name is None or name == default.name:
        return default
    if name not in SCHEDULERS:
        raise UserError(f"--scheduler {name}: is not one of {', '.join(SCHEDULERS)}")
    return dataclasses.replace(default, name=name)


def epochs(space: Space, epochs: int | None, seed: int) -> int:
    """Maximum epochs of a trial: what the user gives, or what the space says."""
    overrides = {} if epochs is None else {"epochs": epochs}
    return _first_config(space, seed, **overrides).epochs


def _first_config(space: Space, seed: int, **overrides: Any) -> RIGSLConfig:
    """The configuration of the first start point."""
    return space.config(space.starts[0] if space.starts else {}, seed, **overrides)


def nodes(options: SearchOptions, precisions: Sequence[str] = ()) -> tuple[Node, ...] | None:
    """The nodes of the cluster that the user names, checked for `precisions`; None: this machine alone."""
    if options.ray_address is None:
        return None
    special = [name for name in precisions if name != RIGSLConfig().precision]
    return read_nodes(options.ray_address, options.runs_dir, special)


def workers(options: SearchOptions, space: Space, corpus: Corpus, nodes: Sequence[Node] | None) -> Workers:
    """The workers that the user asks for, as far as this machine or the nodes of a cluster can run them."""
    return plan_workers(
        device=None if options.device == "auto" else options.device,
        count=options.workers,
        cpus=options.cpus_per_trial,
        gpus=options.gpus_per_trial,
        share=0.25 if space.features == "open" else 0.5,
        nodes=nodes,
        trial_bytes=lambda device: largest(space, corpus, device),
    )


def check_fit(plan: Plan) -> None:
    """Check that space, corpus, sampler and scheduler of a plan fit together, and that it can be exported.

    Raises:
        UserError: they do not.
    """
    space, corpus = plan.space, plan.corpus
    parameter = space.parameters.get("modals")
    for modals in parameter.values if parameter else (space.config({}, 0).modals,):
        try:
            check_modals(modals, corpus.features, corpus.name)
        except UserError as error:
            raise UserError(f"{space.path}: {error}") from None
    make_sampler(plan.sampler, plan.seed, 0, space)  # refuses a space that it cannot model
    # The export writes it at the end: a dataset that it cannot handle is refused before the search.
    official_command(_first_config(space, plan.seed), space.dataset)
    if plan.schedule.name == "pbt":
        check_pbt(space, plan.schedule, plan.epochs)


def check_splits(corpus: Corpus) -> None:
    """Check that a corpus has what a search needs.

    Raises:
        UserError: it lacks dialogues or labels.
    """
    if corpus.labels.max() < 0 or not all(corpus.dialogues(split).size for split in SPLITS):
        raise UserError(f"corpus {corpus.name}: needs labelled dialogues in {listed(SPLITS)}")


def space_of(dataset: str, features: str) -> Path | None:
    """The project's own search space for a dataset and its features; None: there is none.

    It is ``spaces/NAME_open.toml`` or ``spaces/NAME.toml``, in any case; the latter is for official features
    where there are some.
    """
    names = [f"{dataset.lower()}_{features}.toml"]
    if features == "official" or not has_official_features(dataset):
        names.append(f"{dataset.lower()}.toml")
    paths = [path for path in (ROOT / "spaces").glob("*.toml") if path.name != DEFAULT_SPACE]
    return next((path for name in names for path in paths if path.name.lower() == name), None)
