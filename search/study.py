"""Build, run, resume and finish one study: the only place that sees all the parts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import optuna

from rigsl.console import make_console
from rigsl.errors import UserError
from rigsl.files import remove_leftovers
from search import run_folder
from search.confirm.final_record import read_final_record
from search.confirm.stage import ChosenCheckpoint, FinalStage
from search.confirm.watchers import JobWatchers
from search.execution import ray_session
from search.execution.cleanup import RunFolderCleanup
from search.execution.clock import Clock
from search.execution.error_guard import storage_errors_in_words
from search.execution.listener import Listener
from search.execution.ray_patches import keep_signals
from search.execution.searcher import StudySearcher
from search.execution.server_watch import ServerWatch
from search.execution.signals import SignalWatch
from search.execution.stopper import StudyStopper
from search.execution.tune_run import run_on_ray
from search.export import environment
from search.export.best import ExportedModel, export_best
from search.export.model_card import write_model_card
from search.export.narrow import write_next_space
from search.plan.plan import Plan
from search.plan.warm_start import warm_start
from search.record import lock, record
from search.record.learning_curve import METRIC
from search.record.snapshot import take_snapshot
from search.report.write import study_claim, write_report
from search.resources.memory_limit import epoch_seconds, excess
from search.results import Outcome
from search.run_folder import BEST, ENVIRONMENT, SCRATCH, SPACE, TRAININGS, TRIALS
from search.schedulers.pbt import Population
from search.schedulers.recorded_curves import recorded_curves
from search.schedulers.registry import make_scheduler
from search.space.budget import exhausted, trials_done
from search.space.extension import extended, extending_options
from search.space.widen import widened
from search.terminal.progress import Progress
from search.tracking.tracker import Tracker

#: So many names are tried for a new study: NAME, NAME-2 and so on.
MAX_NAMES = 999


def run(
    plan: Plan, *, listeners: Sequence[Listener] = (), early: ray_session.EarlyRay | None = None
) -> Outcome:
    """Run or resume the study of `plan` to the end of its budget, then confirm, test, export and report.

    Args:
        plan: made by `prepare`.
        listeners: called at every event, after the study's own listeners.
        early: a Ray that was started before, while the study's own modules were imported.

    Raises:
        UserError: another process runs this study, there is nothing left to do, or files or the record
            cannot be written; then a resume continues.
    """
    plan = _create_folder(plan)
    refusal = f"study {plan.name} is being run by another process; wait for it or stop it first"
    one_process = lock.hold(plan.folder / run_folder.LOCK, refusal)
    in_words = storage_errors_in_words(plan.folder)
    with one_process, in_words, _stop_in_words(plan.name), SignalWatch() as signals:
        if early is not None and signals.signal is None:  # it may have come just before this process listened
            signals.signal = early.signals.signal
        notify: Callable[[str], object] = make_console().print  # until there is a terminal with a panel
        study = record.open_record(plan.folder, plan.opens, plan.storage, lambda text: notify(text))
        _check_budget_left(plan, study)
        study = write_folder(plan, study)
        used, total = record.seconds(study), record.total_seconds(study)
        clock = Clock(used, record.gpu_seconds(study), plan.workers.gpus, total)
        progress = Progress(
            study,
            clock.seconds,
            name=plan.name,
            budget=plan.budget,
            epochs=plan.epochs,
            total_seconds=clock.total_seconds,
            log=plan.folder / run_folder.TERMINAL_LOG,
        )
        notify = progress.note
        population = make_population(plan, study)
        exported = None
        with Tracker(plan.folder, plan.tracking_uri, study, progress.note) as tracker, progress:
            cleanup = RunFolderCleanup(study, plan.folder, clock, population)
            stopper = StudyStopper(plan.budget, clock, signals, progress.ending)
            watchers = JobWatchers(cleanup, progress)
            final = FinalStage(plan, study, watchers, progress.phase, lambda: signals.interrupted)
            with _ray(plan, signals, early):
                own: list[Listener] = [cleanup, stopper, tracker, progress]
                ending = _search(plan, study, stopper, [*own, *listeners], population)
                clock.search_ended()
                cleanup.write_clock()
                chosen = None if signals.interrupted else final.run()
            interruption = signals.signal  # a later signal comes too late: the study is at its end
            if interruption is not None:
                cleanup.write_clock()
                study.set_user_attr(record.STANDING, "interrupted")
                tracker.interrupted()
            else:
                cleanup.ended()
                exported = _export_and_report(plan, study, chosen, ending)
                final.clean(chosen)
                tracker.done(ending, exported)
        # Only now: the model is registered when MLflow has everything else, and the study is finished when
        # nothing is left to do. Until then a resume does what is missing.
        registered = None if exported is None else tracker.register(exported, plan.corpus)
        if interruption is None:
            study.set_user_attr(record.STANDING, f"finished: {ending}")
    return Outcome(
        plan=plan,
        ending=ending,
        interrupted=interruption,
        counts=record.counts(study),
        exported=exported,
        tracking_problem=tracker.problem,
        tracking_page=tracker.page,
        registered=registered,
    )


@contextlib.contextmanager
def _stop_in_words(name: str) -> Iterator[None]:
    """Say how to go on when a second signal stops the study at once."""
    try:
        yield
    except KeyboardInterrupt:
        make_console().print(f"stopped at once; go on with --resume {name}")
        raise


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
        max_trials=plan.budget.trials,
        excess=excess(plan.corpus, plan.workers.device, plan.workers.memory),
    )


@contextlib.contextmanager
def _ray(plan: Plan, signals: SignalWatch, early: ray_session.EarlyRay | None = None) -> Iterator[None]:
    """The workers, for the search and for the final stage."""
    try:
        session = ray_session.running(plan.workers, plan.corpus_bytes, plan.ray_address, early)
        with keep_signals(signals.take_back), ServerWatch(plan.name).watching() as watch, session:
            signals.take_back()
            try:
                yield
            finally:
                watch()
    finally:
        signals.take_back()


def _search(
    plan: Plan,
    study: optuna.Study,
    stopper: StudyStopper,
    listeners: Sequence[Listener],
    population: Population | None,
) -> str:
    """Run trials until the search is over; returns why it ended."""
    stopper.count(take_snapshot(study))
    if stopper.stop_all() and (stopper.signals.interrupted or not record.running(study)):
        return stopper.ending
    searcher = StudySearcher(
        study,
        plan.space,
        sampler=plan.sampler,
        seed=plan.seed,
        budget=plan.budget,
        workers=plan.workers.count,
        overrides={"epochs": plan.epochs},
        trials=plan.folder / TRIALS,
        listeners=listeners,
        excess=excess(plan.corpus, plan.workers.device, plan.workers.memory),
        seconds=epoch_seconds(plan.corpus, plan.workers.device),
    )
    scheduler = partial(
        make_scheduler,
        plan.schedule,
        metric=METRIC,
        epochs=plan.epochs,
        seed=plan.seed,
        curves=recorded_curves(study, plan.folder / TRIALS),
        population=population,
    )
    if not stopper.ending:
        run_on_ray(
            plan.corpus.without_test_labels(),
            searcher,
            workers=plan.workers,
            stopper=stopper,
            trials=plan.folder / TRIALS,
            scratch=plan.folder / SCRATCH,
            ray_address=plan.ray_address,
            make_scheduler=scheduler,
            folds=plan.trials_folds,
            validation_fold=0 if plan.validation_folds else None,
            target=plan.budget.target,
            snapshot_every=plan.schedule.interval if population is not None else 0,
        )
    ending = stopper.ending
    if not ending and searcher.space_exhausted:
        ending = "every configuration of the space was tried"
    ending = ending or trials_done(plan.budget.trials or 0)
    if not stopper.signals.interrupted:  # only now: the workers are gone and their files are final
        searcher.end_running(f"cut off by the end of the study: {ending}")
    return ending


def _export_and_report(
    plan: Plan, study: optuna.Study, chosen: ChosenCheckpoint | None, ending: str
) -> ExportedModel | None:
    """Write ``best/`` and the report; None if there is no checkpoint to export."""
    exported = None if chosen is None else export_best(plan, study, chosen, ending)
    write_report(plan.folder, study, exported, plan.corpus, plan.features)
    if exported is not None:
        final = read_final_record(plan.folder)
        assert final.winner is not None
        claim = study_claim(plan.folder, study, exported)
        write_model_card(exported.folder, exported.metrics, final, plan.corpus.classes, claim)
        write_next_space(plan.folder, plan.space, study, final.winner.params)
    return exported


def _create_folder(plan: Plan) -> Plan:
    """Create the folder of a new study; under the next free name if another process was faster.

    It appears together with the files that a resume needs, and after its record where a database holds that:
    after a kill there is a study that can be resumed, or none. Folders elsewhere can share the database; the
    record belongs to the one that created it.

    Raises:
        UserError: the folder cannot be written, the database does not answer, or all names are taken.
    """
    if plan.resumed:
        return plan
    runs, first_name = plan.folder.parent, plan.folder.name
    with _new_folder(runs) as hidden:
        with lock.hold(Path(hidden) / run_folder.LOCK):  # a file system without locks is refused here
            pass
        for number in range(1, MAX_NAMES + 1):
            name = first_name if number == 1 else f"{first_name}-{number}"
            plan = dataclasses.replace(plan, folder=runs / name, name=name)
            folder = Path(hidden) / name
            folder.mkdir()
            run_folder.write_file(folder / SPACE, plan.space.text)
            run_folder.write_file(folder / run_folder.STUDY, plan.options_toml())
            if plan.folder.exists() or not _claim_record(plan):
                continue
            try:
                folder.rename(plan.folder)
            except OSError:  # another process created a folder of this name
                _give_back_record(plan)
                continue
            return plan
    raise UserError(
        f"{runs / first_name}: exists already, and so do all names up to {first_name}-{MAX_NAMES}; give "
        "another --study name"
    )


@contextlib.contextmanager
def _new_folder(runs: Path) -> Iterator[str]:
    """A hidden folder in the folder `runs`, which is created if it does not exist."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        hidden = tempfile.TemporaryDirectory(prefix=".new-", dir=runs)
    except OSError as error:
        raise UserError(
            f"--runs-dir {runs}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    with hidden as name:
        yield name


def _claim_record(plan: Plan) -> bool:
    """Create the record of a new study in its database; False: that holds a study of this name already."""
    return plan.storage is None or record.create_record(plan.folder, plan.name, plan.storage)


def _give_back_record(plan: Plan) -> None:
    if plan.storage is not None:
        record.delete_record(plan.folder, plan.name, plan.storage)


def _check_budget_left(plan: Plan, study: optuna.Study) -> None:
    """Check that a finished study has budget left, or is to be explained for the first time.

    Raises:
        UserError: there is nothing to resume.
    """
    if plan.final.explain and read_final_record(plan.folder).explanation is None:
        return
    if not str(study.user_attrs.get(record.STANDING, "")).startswith("finished"):
        return
    spent = take_snapshot(study).spent(record.seconds(study), record.gpu_seconds(study))
    if ending := exhausted(plan.budget, spent):
        longer = extended(plan.budget, spent)
        remedy = "start a new study, with --start-from where its trials can help"
        if longer is not None:
            remedy = f"give it a larger budget, such as {extending_options(plan.budget, longer)}"
        raise UserError(f"--resume {plan.name}: the study has ended ({ending}); {remedy}")


def write_folder(plan: Plan, study: optuna.Study) -> optuna.Study:
    """Write the study's options, its space and its environment; a resume adds its own environment.

    Returns:
        The study: a new one in the same storage if this resume widens its space.
    """
    for folder in (plan.folder, plan.folder / BEST, plan.folder / TRAININGS):
        remove_leftovers(folder)
    opened = study
    if plan.widened_from is not None:
        study = widened(opened, plan.space, plan.record)
    run_folder.write_file(
        plan.folder / SPACE, plan.space.text
    )  # first: after a kill, the next resume widens the record
    run_folder.write_file(plan.folder / run_folder.STUDY, plan.options_toml())
    if plan.widened_from is not None:  # only now: until then a kill leaves the old study and its options
        optuna.delete_study(study_name=plan.widened_from, storage=opened._storage)
    warm_start(plan, study)
    (plan.folder / TRIALS).mkdir(exist_ok=True)
    _add_environment(plan)
    study.set_user_attr(record.STANDING, "running")
    return study


def _add_environment(plan: Plan) -> None:
    """Add an entry to ``environment.json``: when, on which machine and versions the study was started."""
    path = plan.folder / ENVIRONMENT
    sessions = run_folder.read_file(path, list, run=plan.folder) or []
    started = {"started": datetime.now().astimezone().isoformat(timespec="seconds")}
    sessions.append(started | environment.describe(plan.workers, plan.seed))
    run_folder.write_file(path, json.dumps(sessions, indent=2) + "\n")
