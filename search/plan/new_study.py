"""From what the user asks for to a checked plan: all mistakes are found before anything is written."""

from __future__ import annotations

import contextlib
import dataclasses

from rigsl.data.source import find_corpus
from rigsl.errors import UserError
from search.plan import checks
from search.plan.addresses import check_uri
from search.plan.options import Wishes, check_free, check_name, free_folder
from search.plan.plan import Plan
from search.plan.resume import prepare_resume, study_folder
from search.record.storage import absolute, check_url, connect, without_password
from search.samplers.registry import SAMPLERS
from search.space.budget import Budget
from search.space.space import read_space

TRACKING = "sqlite:///mlflow.db"


def prepare(wishes: Wishes) -> Plan:
    """Check all of `wishes` and complete them.

    Raises:
        UserError: anything that the user can put right; nothing has been written.
    """
    if wishes.resume is not None:
        return prepare_resume(wishes)
    if wishes.storage is not None:
        check_url(wishes.storage)
    if wishes.sampler is not None and wishes.sampler not in SAMPLERS:
        raise UserError(f"--sampler {wishes.sampler}: is not one of {', '.join(SAMPLERS)}")
    check_free(wishes.runs_dir)
    check_uri(wishes.tracking_uri or TRACKING)
    name = check_name(wishes)
    corpus, features = find_corpus(wishes.dataset, wishes.features, wishes.data_dir)
    space = read_space(wishes.space or checks.space_of(wishes.dataset, features))
    if (space.dataset.upper(), space.features) != (wishes.dataset.upper(), features):
        what = f"the {space.features} features of {space.dataset}"
        raise UserError(f"{space.path}: is a space for {what}; this corpus is {corpus.name} ({features})")
    other = wishes.start_from
    earlier = None if other is None else study_folder(wishes.runs_dir, other, "start-from")
    workers = checks.workers(wishes, space, corpus)
    kind = "gpu" if workers.device == "cuda" else "cpu"
    budget = checks.limited(space.budgets.get(kind, Budget()), wishes)
    if budget == Budget():
        raise UserError(f"{space.path}: has no [budget.{kind}]; give --trials or --time-budget")
    checks.check_budget(budget, workers)
    seed = 0 if wishes.seed is None else wishes.seed
    plan = Plan(
        name=name or "",
        folder=free_folder(wishes, features) if name is None else (wishes.runs_dir / name).resolve(),
        resumed=False,
        space=space,
        corpus=corpus,
        features=features,
        budget=budget,
        schedule=checks.schedule(space, wishes.scheduler),
        sampler=wishes.sampler or SAMPLERS[0],
        seed=seed,
        epochs=checks.epochs(space, wishes.epochs, seed),
        workers=workers,
        tracking_uri=wishes.tracking_uri or TRACKING,
        ray_address=wishes.ray_address,
        storage=None if wishes.storage is None else absolute(wishes.storage),
        start_from=earlier,
        final=checks.final(space.final, wishes),
    )
    plan = dataclasses.replace(plan, name=plan.folder.name)
    checks.check_fit(plan)
    if plan.storage is not None:
        _check_name_in_storage(plan)
    return plan


def _check_name_in_storage(plan: Plan) -> None:
    """A database holds many studies; two of a name would be one."""
    with contextlib.suppress(KeyError):
        connect(plan.folder, plan.storage).get_study_id_from_name(plan.name)
        where = without_password(plan.storage or "")
        raise UserError(f"--storage {where}: holds a study {plan.name} already; take another --study name")
