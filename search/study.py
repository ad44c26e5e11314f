"""Build, run, resume and finish one study: the only place that sees all the parts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import optuna

from rigsl.errors import UserError
from rigsl.files import write_text
from search import run_folder
from search.confirm.final_record import read_final_record
from search.confirm.stage import Chosen, Final
from search.execution import ray_session
from search.execution.cleanup import Keeper
from search.execution.clock import Clock
from search.execution.listener import Listener
from search.execution.searcher import StudySearcher
from search.execution.signals import Interruption
from search.execution.stopper import StudyStopper
from search.execution.tune_run import run_on_ray
from search.export import environment
from search.export.best import Exported, export
from search.export.model_card import write_model_card
from search.export.narrow import write_next_space
from search.plan.plan import Plan
from search.plan.warm_start import begin
from search.record import lock, record
from search.record.learning_curve import METRIC
from search.report.write import study_claim, write_report
from search.resources.memory_limit import epoch_seconds, excess
from search.results import Outcome
from search.run_folder import ENVIRONMENT, SPACE, TRIALS
from search.schedulers.pbt import Population
from search.schedulers.registry import make_scheduler, recorded_curves
from search.space.budget import Spent, exhausted
from search.space.widen import widened
from search.terminal.progress import Progress
from search.tracking.registry import Registration
from search.tracking.tracker import Tracker


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
    with lock.held(plan.folder / run_folder.LOCK, refusal), Interruption() as interruption:
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
        final = read_final_record(plan.folder)
        assert final.winner is not None
        write_model_card(plan, exported.metrics, final, study_claim(plan, study, exported))
        write_next_space(plan.folder, plan.space, study, final.winner.params)
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


def make_population(plan: Plan, study: optuna.Study) -> Population | None:
    """The population of a study whose scheduler is pbt."""
    if plan.schedule.name != "pbt":
        return None
    return Population(
        study,
        plan.space,
        plan.schedule,
        seed=plan.seed,
        epochs=plan.epochs,
        trials=plan.folder / TRIALS,
        most=plan.budget.trials,
        excess=excess(plan.corpus, plan.workers.device, plan.workers.memory),
    )


@contextlib.contextmanager
def _ray(plan: Plan, interruption: Interruption) -> Iterator[None]:
    """The workers, for the search and for what follows it."""
    n_bytes = sum(array.nbytes for array in plan.corpus.features.values())
    with ray_session.running(plan.workers, n_bytes, plan.ray_address), interruption.installed():
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
    trials = plan.folder / TRIALS
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
            write_text(made / run_folder.STUDY, plan.options_toml())
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
    write_text(plan.folder / run_folder.STUDY, plan.options_toml())
    write_text(plan.folder / SPACE, space)
    if plan.widened_from is not None:
        optuna.delete_study(study_name=plan.widened_from, storage=narrow._storage)
    begin(plan, study)
    (plan.folder / TRIALS).mkdir(exist_ok=True)
    path = plan.folder / ENVIRONMENT
    sessions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    started = {"started": datetime.now().astimezone().isoformat(timespec="seconds")}
    sessions.append(started | environment.describe(plan.workers, plan.seed))
    write_text(path, json.dumps(sessions, indent=2) + "\n")
    study.set_user_attr(record.STANDING, "running")
    return study
