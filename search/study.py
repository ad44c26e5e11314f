"""Build, run, resume and finish one study: the only place that sees all the parts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import optuna

from rigsl.errors import UserError
from rigsl.files import write_text
from search import environment, lock, record, runtime
from search.budget import Spent, exhausted
from search.curve import METRIC
from search.events import Listener
from search.export import Exported, export
from search.final_stage import Chosen, Final
from search.final_test import read_final_record
from search.interruption import Interruption
from search.keeper import Clock, Keeper
from search.model_card import write_model_card
from search.next_space import write_next_space
from search.plan import SPACE, Plan
from search.population import Population, make_population
from search.progress import Progress
from search.ray_loop import run_on_ray
from search.report import claim, write_report
from search.room import epoch_seconds, excess
from search.scheduler import make_scheduler, recorded_curves
from search.searcher import StudySearcher
from search.served_model import Registration
from search.stopper import StudyStopper
from search.tracking import Tracker
from search.warm_start import begin
from search.widen import widened


@dataclass(frozen=True)
class Outcome:
    """How a run of a study ended."""

    plan: Plan
    ending: str  #: why the search ended, in words
    interrupted: int | None  #: the signal that interrupted it
    counts: Mapping[str, int]
    exported: Exported | None  #: None: interrupted, or no trial finished an epoch
    tracking_problem: str | None = None
    tracking_page: str = ""  #: of MLflow, below its address
    registered: Registration | None = None  #: the model in MLflow's registry


def run(plan: Plan, *, listeners: Sequence[Listener] = ()) -> Outcome:
    """Run or resume the study of `plan` to the end of its budget, then confirm, test, export and report.

    Args:
        plan: what `prepare` made.
        listeners: told every event, after the study's own.

    Raises:
        UserError: another process runs this study, or there is nothing left to do.
    """
    plan = _create_folder(plan)
    refusal = f"study {plan.name} is being run by another process; wait for it or stop it first"
    with lock.held(plan.folder / record.LOCK, refusal), Interruption() as interruption:
        study = record.open_record(plan.folder, plan.opens, plan.storage, lambda text: progress.note(text))
        _check_left(plan, study)
        study = _write_folder(plan, study)
        clock = Clock(record.seconds(study), record.gpu_seconds(study), plan.workers.gpus)
        progress = Progress(plan, study, clock.seconds)
        population = make_population(plan, study)
        exported = None
        with Tracker(plan, study, progress.note) as tracker, progress:
            keeper = Keeper(study, plan.folder, clock, population)
            stopper = StudyStopper(plan, study, clock, interruption, progress.ending)
            heard: list[Listener] = [keeper, stopper, tracker, progress, *listeners]
            final = Final(plan, study, progress, progress.phase, lambda: interruption.signal is not None)
            with _ray(plan, interruption):
                ending = _search(plan, study, stopper, heard, population)
                keeper.write_clock()
                chosen = None if interruption.signal is not None else final.run()
            if interruption.signal is not None:
                study.set_user_attr(record.STANDING, "interrupted")
                tracker.interrupted()
            else:
                keeper.ended()
                exported = _finish(plan, study, chosen, ending)
                final.clean(chosen)
                tracker.done(ending, exported)
    # Only now MLflow has taken what it takes.
    registered = None if exported is None else tracker.register(exported, plan.corpus)
    return _outcome(plan, study, ending, interruption.signal, exported, tracker, registered)


def _finish(plan: Plan, study: optuna.Study, chosen: Chosen | None, ending: str) -> Exported | None:
    """Write what the user keeps: ``best/`` and the report."""
    exported = None if chosen is None else export(plan, study, chosen, ending)
    study.set_user_attr(record.STANDING, f"finished: {ending}")
    write_report(plan, study, exported)
    if exported is not None:
        found = read_final_record(plan.folder)
        write_model_card(plan, exported.metrics, found, claim(plan, study, exported))
        write_next_space(plan.folder, plan.space, study, found["winner"]["params"])
    return exported


def _outcome(
    plan: Plan,
    study: optuna.Study,
    ending: str,
    signal: int | None,
    exported: Exported | None,
    tracker: Tracker,
    registered: Registration | None,
) -> Outcome:
    counts = record.counts(study)
    return Outcome(plan, ending, signal, counts, exported, tracker.problem, tracker.page, registered)


@contextlib.contextmanager
def _ray(plan: Plan, interruption: Interruption) -> Iterator[None]:
    """The workers, for the search and for what follows it."""
    n_bytes = sum(array.nbytes for array in plan.corpus.features.values())
    with runtime.running(plan.workers, n_bytes, plan.ray_address), interruption.installed():
        yield


def _search(
    plan: Plan,
    study: optuna.Study,
    stopper: StudyStopper,
    listeners: Sequence[Listener],
    population: Population | None,
) -> str:
    """Run trials until the search is over; returns why it is."""
    stopper.count()
    if stopper.stop_all():
        return stopper.ending
    trials = plan.folder / "trials"
    searcher = StudySearcher(
        study,
        plan.space,
        sampler=plan.sampler,
        seed=plan.seed,
        budget=plan.budget,
        workers=plan.workers.count,
        overrides={"epochs": plan.epochs},
        trials=trials,
        listeners=listeners,
        excess=excess(plan.corpus, plan.workers.device, plan.workers.memory),
        seconds=epoch_seconds(plan.corpus, plan.workers.device),
    )
    run_on_ray(
        plan,
        plan.corpus.without_test_labels(),
        searcher,
        stopper=stopper,
        trials=trials,
        scheduler=make_scheduler(
            plan.schedule,
            metric=METRIC,
            epochs=plan.epochs,
            seed=plan.seed,
            curves=recorded_curves(study),
            population=population,
        ),
        target=plan.budget.target,
        snapshot_every=plan.schedule.interval if population is not None else 0,
    )
    ending = stopper.ending
    if not ending and searcher.space_exhausted:
        ending = "every configuration of the space was tried"
    ending = ending or f"all {plan.budget.trials} trials done"
    if stopper.interruption.signal is None:  # only now: the workers are gone and their files are final
        searcher.end_running(f"cut off by the end of the study: {ending}")
    return ending


def _create_folder(plan: Plan) -> Plan:
    """Make the folder of a new study; the next free name where another process was faster.

    It appears with what a resume needs in it: a kill leaves a study that can go on, or none.
    """
    if plan.resumed:
        return plan
    runs, first = plan.folder.parent, plan.folder.name
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=runs) as hidden:
        for number in range(1, 1000):
            name = first if number == 1 else f"{first}-{number}"
            plan = dataclasses.replace(plan, folder=runs / name, name=name)
            made = Path(hidden) / name
            made.mkdir()
            write_text(made / SPACE, plan.space.path.read_text(encoding="utf-8"))
            write_text(made / record.STUDY, plan.options_toml())
            with contextlib.suppress(OSError):  # there is one of this name
                made.rename(plan.folder)
                return plan
    raise UserError(f"{runs / first}: exists already, and so do 1000 like it; give a --study name")


def _check_left(plan: Plan, study: optuna.Study) -> None:
    """A finished study whose budget is used up has nothing to resume."""
    if not str(study.user_attrs.get(record.STANDING, "")).startswith("finished"):
        return
    ended = record.finished(study)
    scores = [record.score(trial) for trial in ended]
    spent = Spent(finished=len(ended), scores=scores, seconds=record.seconds(study))
    if ending := exhausted(plan.budget, spent):
        raise UserError(
            f"--resume {plan.name}: the study has ended ({ending}); give it more --trials or --time-budget"
        )


def _write_folder(plan: Plan, study: optuna.Study) -> optuna.Study:
    """The study's options, its space and what it runs on; a resume adds its own environment.

    Returns the study, which is another one in its storage where its space was widened.
    """
    narrow, space = study, plan.space.path.read_text(encoding="utf-8")
    if plan.widened_from is not None:
        study = widened(narrow, plan.space, plan.record)
    write_text(plan.folder / record.STUDY, plan.options_toml())
    write_text(plan.folder / SPACE, space)
    if plan.widened_from is not None:
        optuna.delete_study(study_name=plan.widened_from, storage=narrow._storage)
    begin(plan, study)
    (plan.folder / "trials").mkdir(exist_ok=True)
    path = plan.folder / "environment.json"
    sessions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    started = {"started": datetime.now().astimezone().isoformat(timespec="seconds")}
    sessions.append(started | environment.describe(plan.workers, plan.seed))
    write_text(path, json.dumps(sessions, indent=2) + "\n")
    study.set_user_attr(record.STANDING, "running")
    return study
