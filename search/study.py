"""Build, run, resume and finish one study: the only place that sees all the parts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from ray import tune

from rigsl.errors import UserError
from rigsl.files import write_text
from search import environment, lock, record, runtime
from search.budget import Spent, exhausted
from search.curve import METRIC
from search.events import Listener
from search.export import Exported, export
from search.interruption import Interruption
from search.keeper import Clock, Keeper
from search.plan import SPACE, Plan
from search.progress import Progress
from search.report import write_report
from search.scheduler import make_scheduler, recorded_curves
from search.searcher import StudySearcher
from search.stopper import StudyStopper
from search.tracking import Tracker
from search.trainable import TrialWorker, WorkerOptions
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


def run(plan: Plan, *, listeners: Sequence[Listener] = ()) -> Outcome:
    """Run or resume the study of `plan` to the end of its budget, then test, export and report.

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
        with Tracker(plan, study) as tracker, progress:
            keeper = Keeper(study, plan.folder, clock)
            stopper = StudyStopper(plan, study, clock, interruption, progress.ending)
            heard: list[Listener] = [keeper, stopper, tracker, progress, *listeners]
            ending = _search(plan, study, stopper, heard)
            keeper.write_clock()
            if interruption.signal is not None:
                study.set_user_attr(record.STANDING, "interrupted")
                tracker.interrupted()
                return _outcome(plan, study, ending, interruption.signal, None, tracker)
            progress.final()
            exported = export(plan, study, ending)
            study.set_user_attr(record.STANDING, f"finished: {ending}")
            write_report(plan, study, exported)
            tracker.done(ending, exported)
    return _outcome(plan, study, ending, None, exported, tracker)


def _outcome(
    plan: Plan,
    study: optuna.Study,
    ending: str,
    signal: int | None,
    exported: Exported | None,
    tracker: Tracker,
) -> Outcome:
    return Outcome(plan, ending, signal, record.counts(study), exported, tracker.problem, tracker.page)


def _search(plan: Plan, study: optuna.Study, stopper: StudyStopper, listeners: Sequence[Listener]) -> str:
    """Run trials until the study is over; returns why it is."""
    corpus = plan.corpus.without_test_labels()
    n_bytes = sum(array.nbytes for array in corpus.features.values())
    stopper.count()
    if stopper.stop_all():
        return stopper.ending
    with runtime.running(plan.workers, n_bytes, plan.ray_address), stopper.interruption.installed():
        searcher = StudySearcher(
            study,
            plan.space,
            sampler=plan.sampler,
            seed=plan.seed,
            budget=plan.budget,
            workers=plan.workers.count,
            overrides={"epochs": plan.epochs},
            trials=plan.folder / "trials",
            listeners=listeners,
        )
        _fit(plan, study, searcher, stopper, corpus)
        ending = stopper.ending
        if not ending and searcher.space_exhausted:
            ending = "every configuration of the space was tried"
        ending = ending or f"all {plan.budget.trials} trials done"
    if stopper.interruption.signal is None:  # only now: the workers are gone and their files are final
        searcher.end_running(f"cut off by the end of the study: {ending}")
    return ending


def _fit(
    plan: Plan, study: optuna.Study, searcher: StudySearcher, stopper: StudyStopper, corpus: Any
) -> None:
    """Hand everything to Ray Tune."""
    workers = plan.workers
    options = WorkerOptions(
        trials=plan.folder / "trials",
        device=workers.device,
        threads=workers.cpus,
        gpu_fraction=workers.gpus,
        target=plan.budget.target,
    )
    trainable = tune.with_parameters(TrialWorker, corpus=corpus, options=options)
    scheduler = make_scheduler(
        plan.schedule, metric=METRIC, epochs=plan.epochs, seed=plan.seed, curves=recorded_curves(study)
    )
    scratch = plan.folder / ".ray"
    try:
        with runtime.patient_workers():
            # Not tune.Tuner, which pickles the searcher, and with it the open record, for a restore.
            tune.run(
                trainable,
                resources_per_trial={"cpu": workers.cpus, "gpu": workers.gpus},
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                stop=stopper,
                max_failures=1,  # a lost worker: once more, from the trial's state file
                raise_on_failed_trial=False,
                name="tune",
                storage_path=str(scratch),
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
                verbose=0,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    return f"{trial.config['number']:04d}-{trial.trial_id}"


def _create_folder(plan: Plan) -> Plan:
    """Make the folder of a new study; the next free name where another process was faster."""
    if plan.resumed:
        return plan
    folder = plan.folder
    for number in range(2, 1000):
        with contextlib.suppress(FileExistsError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return dataclasses.replace(plan, folder=folder, name=folder.name)
        folder = plan.folder.with_name(f"{plan.folder.name}-{number}")
    raise UserError(f"{plan.folder}: exists already, and so do 1000 like it; give a --study name")


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
