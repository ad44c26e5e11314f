"""The plan of a new study from the user's options; all mistakes are found before anything is written."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.data.source import dataset_name, find_corpus
from rigsl.errors import UserError
from search.plan import checks
from search.plan.addresses import new_tracking_uri
from search.plan.derived_space import derived_space
from search.plan.options import SearchOptions, check_disk_space, check_name, free_folder, study_folder
from search.plan.plan import Plan
from search.plan.precisions import checked_precisions, precisions
from search.plan.resume import prepare_resume
from search.plan.warm_start import read_earlier
from search.record.storage import absolute, check_url, connect
from search.resources.workers import Workers
from search.samplers.registry import DEFAULT_SAMPLER, EARLIER_NAMES, SAMPLERS
from search.space.budget import Budget
from search.space.space import Space, read_space


def prepare(options: SearchOptions) -> Plan:
    """Check all of `options` and complete them: the plan of a new study, or of one that is resumed.

    Raises:
        UserError: a mistake that the user can correct; nothing has been written.
    """
    if options.resume is not None:
        return prepare_resume(options)
    if options.storage is not None:
        check_url(options.storage)
    sampler = options.sampler or DEFAULT_SAMPLER
    sampler = EARLIER_NAMES.get(sampler, sampler)
    if sampler not in SAMPLERS:
        raise UserError(f"--sampler {options.sampler}: is not one of {', '.join(SAMPLERS)}")
    check_disk_space(options.runs_dir)
    tracking_uri, tracking_remark = new_tracking_uri(options.tracking_uri)
    if options.study is not None:
        check_name(options.study, options.runs_dir)
    corpus, features = find_corpus(options.dataset, options.features, options.data_dir)
    checks.check_splits(corpus)
    earlier = options.start_from
    start_from = None if earlier is None else study_folder(options.runs_dir, earlier, "start-from")
    if start_from is not None:
        read_earlier(start_from)  # the new study cannot begin, nor be resumed, without it
    space, workers, derived, precision_remark = _space(options, corpus, features)
    kind = "gpu" if workers.device == "cuda" else "cpu"
    budget = checks.limited(space.budgets.get(kind, Budget()), options)
    if budget == Budget():
        raise UserError(f"{space.path}: has no [budget.{kind}]; give --trials or --time-budget")
    checks.check_budget(budget, workers)
    seed = 0 if options.seed is None else options.seed
    final = checks.final(space.final, options, corpus)
    folder = (
        free_folder(options.runs_dir, options.dataset, features)
        if options.study is None
        else (options.runs_dir / options.study).resolve()
    )
    plan = Plan(
        name=folder.name,
        folder=folder,
        resumed=False,
        space=space,
        derived=derived,
        corpus=corpus,
        features=features,
        budget=budget,
        schedule=checks.schedule(space.schedule, options.scheduler),
        sampler=sampler,
        seed=seed,
        epochs=checks.epochs(space, options.epochs, seed),
        workers=workers,
        force=bool(options.force),
        precision_remark=precision_remark,
        tracking_uri=tracking_uri,
        tracking_remark=tracking_remark,
        ray_address=options.ray_address,
        storage=None if options.storage is None else absolute(options.storage),
        start_from=start_from,
        validation_folds=checks.validation_folds(options.validation, space.validation, final, corpus),
        final=final,
    )
    checks.check_fit(plan)
    if plan.storage is not None:
        _check_storage(plan.storage, plan.folder, options.study)
    return plan


def _space(
    options: SearchOptions, corpus: Corpus, features: str
) -> tuple[Space, Workers, tuple[str, ...], str]:
    """The space that the user gives, the project's own or a derived one, and the workers of its study.

    Returns:
        Space, workers, what a derived space is, in lines, and a remark on its precisions.

    Raises:
        UserError: the space has a mistake or is for another corpus, or there are no such workers.
    """
    dataset = dataset_name(options.dataset, options.data_dir)
    path = options.space or checks.space_of(dataset, features)
    if path is None:
        nodes = checks.nodes(options)
        derived = derived_space(
            corpus, dataset, features, lambda space: checks.workers(options, space, corpus, nodes)
        )
        return derived.space, derived.workers, derived.lines, ""
    space = read_space(path)
    try:
        dataset_name(space.dataset, options.data_dir)
    except UserError as error:
        raise UserError(f"{space.path}: [study] dataset: {error}") from None
    if (space.dataset.lower(), space.features) != (dataset.lower(), features):
        intended = f"the {space.features} features of {space.dataset}"
        raise UserError(f"{space.path}: is a space for {intended}; this corpus is {corpus.name} ({features})")
    nodes = checks.nodes(options, precisions(space))
    workers = checks.workers(options, space, corpus, nodes)
    space, remark = checked_precisions(space, workers.device, nodes, force=bool(options.force))
    return space, workers, (), remark


def _check_storage(storage: str, folder: Path, name: str | None) -> None:
    """Check that the database answers, and that the `name` that the user gives is free in it."""
    database = connect(folder, storage)
    if name is None:  # the study gets the next free name when it begins
        return
    with contextlib.suppress(KeyError):
        database.get_study_id_from_name(name)
        raise UserError(
            f"--storage {storage}: holds a study {name} already; choose another name with --study"
        )
