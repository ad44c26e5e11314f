"""The plan that resumes an existing study."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rigsl.data.source import find_corpus
from rigsl.errors import UserError
from search.plan import checks
from search.plan.addresses import resumed_tracking_uri
from search.plan.options import SearchOptions, check_disk_space, check_writable, study_folder
from search.plan.plan import Plan
from search.plan.precisions import checked_precisions, precisions
from search.record.record import has_begun, load_begun, read_record
from search.record.storage import absolute
from search.record.study_options import read_study_options
from search.run_folder import SPACE, STUDY
from search.space import widen
from search.space.budget import read_budget
from search.space.confirmation import read_final
from search.space.final_seeds import CONSECUTIVE, DERIVATIONS
from search.space.space import Space, read_space


def prepare_resume(options: SearchOptions) -> Plan:
    """The plan of a study that is resumed.

    Its budget can be raised, its ranges widened (``--space``), its workers and its stores changed.

    Raises:
        UserError: there is no such study, or a change would make its trials incomparable.
    """
    folder = study_folder(options.runs_dir, str(options.resume), "resume")
    for option in ("sampler", "scheduler", "validation", "epochs", "seed", "study", "start_from"):
        if getattr(options, option) is not None:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: cannot be changed by a resume; start a new study for that")
    check_disk_space(options.runs_dir)
    check_writable(folder, f"--resume {options.resume}")
    stored = read_study_options(folder, whole=True)
    derivation = stored.get("seed_derivation", CONSECUTIVE)
    if derivation not in DERIVATIONS:
        raise UserError(
            f"{folder / STUDY}: seed_derivation = {derivation!r} is not one of {', '.join(DERIVATIONS)}; "
            "take the version with which the study was run last"
        )
    tracking_uri, tracking_remark = resumed_tracking_uri(options.tracking_uri, stored["tracking_uri"])
    corpus, features = find_corpus(
        stored["dataset"], stored["features"], options.data_dir, content=stored["corpus"]
    )
    if corpus.content_hash() != stored["corpus"]:
        raise UserError(
            f"--resume {options.resume}: the {stored['features']} features are no longer those of the study"
        )
    storage = stored.get("storage") if options.storage is None else absolute(options.storage)
    if has_begun(folder):
        load_begun(folder, stored.get("record", stored["study"]), storage)
    space, widened = _space(folder, options.space, storage)
    checks.check_splits(corpus)
    nodes = checks.nodes(options, precisions(space))
    workers = checks.workers(options, space, corpus, nodes)
    force = bool(options.force or stored.get("force"))
    space, precision_remark = checked_precisions(space, workers.device, nodes, force=force, resumed=True)
    plan = Plan(
        name=folder.name,
        folder=folder,
        resumed=True,
        space=space,
        corpus=corpus,
        features=features,
        budget=checks.limited(read_budget(stored["budget"], f"{folder / STUDY}: [budget]"), options),
        schedule=checks.schedule(space.schedule, stored["scheduler"]),
        sampler=stored["sampler"],
        seed=stored["seed"],
        seed_derivation=derivation,
        epochs=stored["epochs"],
        workers=workers,
        force=force,
        precision_remark=precision_remark,
        tracking_uri=tracking_uri,
        tracking_remark=tracking_remark,
        ray_address=options.ray_address,
        storage=storage,
        validation_folds=stored.get("validation_folds", 0),  # earlier versions score trials on dev
        final=checks.final(
            # Studies of earlier versions score their finalists on dev.
            read_final({"folds": 0} | stored.get("final", {}), f"{folder / STUDY}: [final]"),
            options,
            corpus,
        ),
        record=_next_record(stored) if widened else stored.get("record", ""),
        widened_from=stored.get("record", folder.name) if widened else None,
        start_from=Path(stored["start_from"]) if "start_from" in stored else None,
    )
    checks.check_budget(plan.budget, workers)
    checks.check_fit(plan)
    return plan


def _space(folder: Path, wider_file: Path | None, storage: str | None) -> tuple[Space, bool]:
    """The study's space, or the wider one that the user gives; and whether the record's ranges are widened.

    A kill may have come when the wider space was in the folder already, and not yet in the record.
    """
    space = read_space(folder / SPACE)
    if wider_file is None:
        if not has_begun(folder) or widen.is_drawn_from(space, study := read_record(folder, storage)):
            return space, False
        widen.check_trials(space, study, str(folder / SPACE))
        return space, True
    wider = read_space(wider_file)
    if wider.parameters == space.parameters and wider.fixed == space.fixed:
        return dataclasses.replace(wider, path=folder / SPACE, text=space.text), False
    widen.check(space, wider, read_record(folder, storage))
    return wider, True


def _next_record(stored: dict[str, Any]) -> str:
    """A name in the storage for the study with its widened space: ``name~2``, ``name~3``, ..."""
    stem, _, number = stored["record"].partition("~") if "record" in stored else (stored["study"], "", "")
    return f"{stem}~{int(number or 1) + 1}"
