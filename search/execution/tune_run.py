"""One run of Ray Tune's loop: the trials of a search, or the trainings of the final stage."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from rigsl.data.corpus import Corpus
from search.execution.error_guard import ErrorGuard
from search.execution.node_watch import NodeWatch
from search.execution.ray_patches import no_analysis, no_count_of_callbacks, patient_workers
from search.execution.server_watch import ServerWatch, lost_server
from search.execution.trainable import TrialWorker, WorkerOptions
from search.resources.workers import Workers

#: Seconds to wait for a worker that is still in its epoch; after that it is left to Ray.
LONGEST_EPOCH = 600.0


def run_on_ray(
    corpus: Corpus,
    searcher: Searcher,
    *,
    workers: Workers,
    stopper: tune.Stopper,
    trials: Path,
    scratch: Path,
    ray_address: str | None = None,
    make_scheduler: Callable[[], TrialScheduler] = FIFOScheduler,
    **options: Any,
) -> None:
    """Train what `searcher` proposes until it has no more or `stopper` ends the run.

    An error in the searcher, its listeners or the scheduler ends the run in good order; then it is raised.

    Args:
        corpus: the data that the workers see.
        searcher: proposes trainings.
        workers: how many, and what each of them gets.
        stopper: asked after every event.
        trials: folder of the trainings' folders.
        scratch: folder for Ray Tune's own files; removed at the end.
        ray_address: of the cluster, whose nodes are then watched; None: a private Ray instance.
        make_scheduler: makes what stops weak trainings; by default every training runs to its end.
        options: further `WorkerOptions`.

    Raises:
        UserError: no node is left, or no server of a private Ray; a resume continues.
        OSError: files cannot be written; a resume continues.
    """
    servers = ServerWatch(trials.parent.name)
    callbacks: list[tune.Callback] = [servers]
    if ray_address is not None:
        callbacks.append(NodeWatch(ray_address, workers.cpus, workers.gpus, trials.parent))
    worker_options = WorkerOptions(
        trials=trials,
        device=workers.device,
        threads=workers.cpus,
        gpu_fraction=workers.gpus,
        gpu_memory=workers.memory if workers.gpus else 0,
        **options,
    )
    guard = ErrorGuard()
    done = dict.fromkeys(("on_trial_result", "on_trial_complete"))
    guard.protect(searcher, {"suggest": str(Searcher.FINISHED), **done})
    guard.stop_after_error(stopper)
    try:
        with servers.guarding(), patient_workers(), no_analysis(), no_count_of_callbacks():
            scheduler = make_scheduler()  # which tells Ray's server of itself
            guard.protect(scheduler, {"on_trial_result": TrialScheduler.CONTINUE, "on_trial_complete": None})
            before = _actors()
            # Not tune.Tuner, which pickles the searcher, and with it the open record, for a restore.
            tune.run(
                tune.with_parameters(TrialWorker, corpus=corpus, options=worker_options),
                resources_per_trial={"cpu": workers.cpus, "gpu": workers.gpus},
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                stop=stopper,
                max_failures=1,  # after a lost worker: try once more, from the trial's state file
                raise_on_failed_trial=False,
                name="tune",
                storage_path=str(scratch),
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
                callbacks=callbacks,
                verbose=0,
            )
        # After an error or a second Ctrl-C nobody waits: Ray's end takes the workers along.
        _wait_for_workers(before)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if guard.error is not None:
        raise guard.error


def _actors() -> set[str]:
    """The ids of this process's actors that can still write files; a cluster that is gone has none."""
    import ray
    from ray._private.state import actors

    if lost_server():
        return set()
    try:
        job, known = ray.get_runtime_context().get_job_id(), actors()
    except Exception:  # Ray raises many kinds here
        return set()
    return {
        actor_id for actor_id, actor in known.items() if actor["JobID"] == job and actor["State"] == "ALIVE"
    }


def _wait_for_workers(before: set[str]) -> None:
    """Wait until the workers are gone, each after the epoch that it was in: then their files are final.

    Args:
        before: the actors that are no workers.
    """
    end = time.monotonic() + LONGEST_EPOCH
    while _actors() - before and time.monotonic() < end:
        time.sleep(0.05)


def _trial_name(trial: Any) -> str:
    return f"{trial.config['number']:04d}-{trial.trial_id}"
