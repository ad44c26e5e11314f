"""Corrections of Ray while a search runs: lost and starting workers, signals and addresses of its servers."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

#: Whether Ray's C++ has set its handlers of signals: `ray::RayLog::is_failure_signal_handler_installed_`.
_HANDLERS_SET = "_ZN3ray6RayLog36is_failure_signal_handler_installed_E"
#: Seconds that a worker may take to start (imports, on a slow disk) before its trial takes an idle one.
PATIENCE = 60.0


@contextlib.contextmanager
def count_each_loss_once() -> Iterator[None]:
    """Let Ray Tune count every lost worker exactly once.

    When Ray's memory monitor kills a worker, Ray Tune gets an error that it does not know and ends the whole
    search: "Caught unexpected exception" (air/execution/_internal/actor_manager.py). A worker that dies while
    it is handed to its next trial counts twice, so that this trial fails at once; and where that trial is to
    be tried again, Ray Tune waits for the lost worker for ever (tune/execution/tune_controller.py).
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import RayActorError, RayTaskError
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    task_failed, actor_failed = RayActorManager._actor_task_failed, TuneController._actor_failed

    def lost(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        task_failed(manager, tracked_actor_task, exception)

    def lost_between_trials(controller: Any, tracked_actor: Any, exception: Exception) -> None:
        trial = controller._actor_to_trial[tracked_actor]
        if trial in controller._resetting_trials:
            # As if the worker had started the trial: the failure of its task, reported next, is the one that
            # counts.
            controller._resetting_trials.remove(trial)
            controller._unstage_trial_with_resources(trial)
            controller._set_trial_status(trial, Trial.RUNNING)
        actor_failed(controller, tracked_actor, exception)

    RayActorManager._actor_task_failed = lost
    TuneController._actor_failed = lost_between_trials
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = task_failed
        TuneController._actor_failed = actor_failed


@contextlib.contextmanager
def patient_workers() -> Iterator[None]:
    """Let a starting worker start.

    When a trial ends while another trial's worker is still starting, Ray gives the idle worker to that other
    trial and throws the starting one away. Short trials then all gather on one worker (measured: of four
    trial slots only one was ever used). Inside this block an idle worker goes to the next new trial instead.

    A trial that waits for a slot has no starting worker: when a node was lost and there are fewer slots than
    before, it gets the next idle worker. So does a trial whose worker has not started after `PATIENCE`.
    """
    from ray.tune.execution.tune_controller import TuneController

    reuse = TuneController._maybe_reuse_cached_actor
    since: dict[Any, float] = {}

    def reuse_unless_starting(controller: Any, trial: Any) -> bool:
        worker = controller._trial_to_actor.get(trial)
        starting = (
            worker is not None
            and trial not in controller._resetting_trials
            and controller._actor_manager.is_actor_started(worker)
        )
        if starting and time.monotonic() - since.setdefault(worker, time.monotonic()) < PATIENCE:
            return False
        return bool(reuse(controller, trial))

    TuneController._maybe_reuse_cached_actor = reuse_unless_starting
    try:
        yield
    finally:
        TuneController._maybe_reuse_cached_actor = reuse


@contextlib.contextmanager
def servers_in_own_session() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Let Ray start its servers, and with them its workers, in a session of their own; yields those started.

    A signal to the process group (timeout, scancel, docker stop, a lost terminal) would end them before the
    driver, which then waits for them in vain for a minute ("Failed to connect to GCS") instead of stopping in
    good order. If the driver is killed they end with it: the kernel tells them (PR_SET_PDEATHSIG).
    """
    from ray._private import services

    popen = services.ConsolePopen
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **{**options, "start_new_session": True}))
        return started[-1]

    services.ConsolePopen = start
    try:
        yield started
    finally:
        services.ConsolePopen = popen


@contextlib.contextmanager
def servers_on_loopback() -> Iterator[None]:
    """Let `ray.init` start servers that only this machine reaches.

    They listen on all interfaces unless the node's address is a loopback address, and `ray.init` replaces
    such a one by an address that other machines reach (_private/services.py, `resolve_ip_for_localhost`).
    Without clusters, as on Windows and macOS, it takes the loopback address itself.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def keep_signals(take_back: Callable[[], object]) -> Iterator[None]:
    """Let the driver hear SIGTERM while Ray starts and while it ends, which takes seconds each.

    When Ray starts it sets a handler that ends the process with code 15 (_private/worker.py); when it stops
    it sets the default one, in C, before it ends its servers. `take_back` sets the driver's handler again.
    """
    from ray._private import utils
    from ray._private.node import Node

    set_handler, end_servers = utils.set_sigterm_handler, Node.kill_all_processes

    def end_servers_and_hear(node: Any, *arguments: Any, **options: Any) -> None:
        take_back()
        end_servers(node, *arguments, **options)

    utils.set_sigterm_handler = lambda handler: None
    Node.kill_all_processes = end_servers_and_hear
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler
        Node.kill_all_processes = end_servers


@contextlib.contextmanager
def no_handlers_in_c() -> Iterator[None]:
    """Let Ray set no handlers of signals in C when it starts in this block, and so reset none when it ends.

    Its C++ takes SIGTERM away while this process registers with the raylet, for which it waits a second or
    more, and longer on a busy machine: a signal would abort the process, with its servers' files left behind
    (util/logging.cc, `InstallFailureSignalHandler`). It sets them once, and believes here that it has.
    """
    from ray import _raylet

    try:
        are_set = ctypes.c_bool.in_dll(ctypes.CDLL(_raylet.__file__), _HANDLERS_SET)
    except ValueError:  # another version of Ray
        are_set = ctypes.c_bool()
    are_set.value = True
    try:
        yield
    finally:
        are_set.value = False


@contextlib.contextmanager
def no_analysis() -> Iterator[None]:
    """Let Ray Tune not describe its trials after a run, which nobody asks for.

    If there were none, it reads its own file of them, and fails where a full disk has left that empty
    (tune/analysis/experiment_analysis.py).
    """
    module: Any = importlib.import_module("ray.tune.tune")
    analysis = module.ExperimentAnalysis
    module.ExperimentAnalysis = lambda **options: None
    try:
        yield
    finally:
        module.ExperimentAnalysis = analysis


@contextlib.contextmanager
def no_count_of_callbacks() -> Iterator[None]:
    """Let Ray Tune not count the kinds of its callbacks for Ray's usage report, which is off.

    It would import MLflow and others for that, two seconds before the first trial (air/_internal/usage.py).
    """
    from ray.air._internal import usage

    count = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = count
