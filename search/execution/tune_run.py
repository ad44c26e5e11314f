"""One run of Ray Tune's loop: trials, or the trainings of the final stage, on the workers of a plan."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from rigsl.data.corpus import Corpus
from search.execution.node_watch import Carrying
from search.execution.ray_patches import patient_workers
from search.execution.trainable import TrialWorker, WorkerOptions
from search.plan.plan import Plan
from search.run_folder import SCRATCH

#: Seconds after which a worker that does not end is left to Ray.
LONGEST_EPOCH = 600.0


def run_on_ray(
    plan: Plan,
    corpus: Corpus,
    searcher: Searcher,
    *,
    stopper: tune.Stopper,
    trials: Path,
    scheduler: TrialScheduler | None = None,
    **more: Any,
) -> None:
    """Train what `searcher` hands out until it has no more or `stopper` ends it.

    Args:
        corpus: what the workers see of the data.
        trials: where every training keeps its files.
        scheduler: who stops weak ones; None: nobody.
        more: further `WorkerOptions`.
    """
    workers, scratch = plan.workers, plan.folder / SCRATCH
    address = plan.ray_address
    lookouts = [Carrying(address, workers.cpus, workers.gpus)] if address is not None else []
    options = WorkerOptions(
        trials=trials, device=workers.device, threads=workers.cpus, gpu_fraction=workers.gpus, **more
    )
    before = _actors()
    try:
        with patient_workers():
            # Not tune.Tuner, which pickles the searcher, and with it the open record, for a restore.
            tune.run(
                tune.with_parameters(TrialWorker, corpus=corpus, options=options),
                resources_per_trial={"cpu": workers.cpus, "gpu": workers.gpus},
                search_alg=searcher,
                scheduler=scheduler or FIFOScheduler(),
                num_samples=-1,
                reuse_actors=True,
                stop=stopper,
                max_failures=1,  # a lost worker: once more, from the trial's state file
                raise_on_failed_trial=False,
                name="tune",
                storage_path=str(scratch),
                trial_name_creator=_name,
                trial_dirname_creator=_name,
                callbacks=lookouts,
                verbose=0,
            )
    finally:
        _wait_for_workers(before)
        shutil.rmtree(scratch, ignore_errors=True)


def _actors() -> set[str]:
    """The actors of this process that can still write; a cluster that is gone has none."""
    import ray
    from ray._private.state import actors

    try:
        job, found = ray.get_runtime_context().get_job_id(), actors()
    except Exception:  # Ray has many for this
        return set()
    return {name for name, one in found.items() if one["JobID"] == job and one["State"] == "ALIVE"}


def _wait_for_workers(before: set[str]) -> None:
    """Wait until the workers are gone, each after the epoch that it was in: then their files are final.

    Args:
        before: actors that are none of them.
    """
    end = time.monotonic() + LONGEST_EPOCH
    while _actors() - before and time.monotonic() < end:
        time.sleep(0.05)


def _name(trial: Any) -> str:
    return f"{trial.config['number']:04d}-{trial.trial_id}"
