"""From a study that exists to a plan that goes on with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rigsl.config import read_toml
from rigsl.data.source import find_corpus
from rigsl.errors import UserError
from search.plan import checks
from search.plan.addresses import check_uri
from search.plan.options import Wishes, check_free
from search.plan.plan import Plan
from search.record.record import read_record
from search.record.storage import absolute
from search.run_folder import SPACE, STUDY
from search.space import widen
from search.space.budget import Budget, read_budget
from search.space.confirmation import read_final
from search.space.space import Space, read_space


def study_folder(runs: Path, given: str, option: str) -> Path:
    """The run folder of the study that ``--option`` names: a name in the folder `runs`, or a path.

    Raises:
        UserError: there is none.
    """
    for folder in (runs / given, Path(given)):
        if (folder / STUDY).is_file() and (folder / SPACE).is_file():
            return folder.resolve()
    known = sorted(path.parent.name for path in runs.glob(f"*/{STUDY}"))
    there = f"there are {', '.join(known)}" if known else "there is none"
    raise UserError(f"--{option} {given}: is not a study in {runs}; {there}")


def prepare_resume(wishes: Wishes) -> Plan:
    """The plan of a study that goes on.

    Its budget can be raised, its ranges widened (``--space``), its workers and its stores changed.

    Raises:
        UserError: there is no such study, or what is asked for would make its trials incomparable.
    """
    folder = study_folder(wishes.runs_dir, str(wishes.resume), "resume")
    for option in ("sampler", "scheduler", "epochs", "seed", "study", "start_from"):
        if getattr(wishes, option) is not None:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: cannot be changed by a resume; start a new study for that")
    check_free(wishes.runs_dir)
    kept = read_toml(folder / STUDY)
    check_uri(wishes.tracking_uri or kept["tracking_uri"])
    corpus, features = find_corpus(kept["dataset"], kept["features"], wishes.data_dir)
    if corpus.content_hash() != kept["corpus"]:
        raise UserError(
            f"--resume {wishes.resume}: the {kept['features']} features are no longer those of the study"
        )
    storage = kept.get("storage") if wishes.storage is None else absolute(wishes.storage)
    space, widened = _space(folder, wishes, storage)
    workers = checks.workers(wishes, space, corpus)
    plan = Plan(
        name=folder.name,
        folder=folder,
        resumed=True,
        space=space,
        corpus=corpus,
        features=features,
        budget=checks.limited(_budget(kept, folder), wishes),
        schedule=checks.schedule(space, kept["scheduler"]),
        sampler=kept["sampler"],
        seed=kept["seed"],
        epochs=kept["epochs"],
        workers=workers,
        tracking_uri=wishes.tracking_uri or kept["tracking_uri"],
        ray_address=wishes.ray_address,
        storage=storage,
        final=checks.final(read_final(kept.get("final", {}), f"{folder / STUDY}: [final]"), wishes),
        record=_next_record(kept) if widened else kept.get("record", ""),
        widened_from=kept.get("record", folder.name) if widened else None,
        start_from=Path(kept["start_from"]) if "start_from" in kept else None,
    )
    checks.check_budget(plan.budget, workers)
    checks.check_fit(plan)
    return plan


def _budget(kept: dict[str, Any], folder: Path) -> Budget:
    return read_budget(kept["budget"], f"{folder / STUDY}: [budget]")


def _space(folder: Path, wishes: Wishes, storage: str | None) -> tuple[Space, bool]:
    """The space of the study, or the wider one that the user gives; and whether it is another."""
    kept = read_space(folder / SPACE)
    if wishes.space is None:
        return kept, False
    wider = read_space(wishes.space)
    if wider.parameters == kept.parameters and wider.fixed == kept.fixed:
        return dataclasses.replace(wider, path=folder / SPACE), False
    widen.check(kept, wider, read_record(folder, storage))
    return wider, True


def _next_record(kept: dict[str, Any]) -> str:
    """A name in the storage for the study with its widened space: ``name~2``, ``name~3``, ..."""
    stem, _, number = kept["record"].partition("~") if "record" in kept else (kept["study"], "", "")
    return f"{stem}~{int(number or 1) + 1}"
