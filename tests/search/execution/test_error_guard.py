"""An error in a callback of Ray, or a disk that is full, ends a search in good order and costs no trial."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from optuna.trial import TrialState

from rigsl.errors import UserError
from rigsl.files import is_storage_error
from search.confirm.trainings import InterruptStopper, JobList, JobResults, JobSearcher
from search.execution import trainable
from search.execution.error_guard import ErrorGuard
from search.execution.searcher import StudySearcher
from search.execution.tune_run import run_on_ray
from search.record import record
from search.record.trial_report import BY_ITSELF, NOT_WRITTEN
from search.resources.workers import Workers
from search.run_folder import ERROR
from search.study import run
from tests.helpers.listeners import Bystander
from tests.helpers.local_worker import CONFIG, make_worker
from tests.helpers.small_disk import small_disk
from tests.helpers.toy_study import make_corpus, toy_plan


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "epochs.jsonl")


#: Over quota, a file too large, broken, read-only, not allowed; a network share that is away; too many files.
REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE,
    errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


class FullDisk(Bystander):
    """A listener whose disk is full when the second trial ends."""

    def __init__(self) -> None:
        self.ends = 0

    def finished(self, *_: object) -> None:
        self.ends += 1
        if self.ends == 2:
            raise no_space()


@pytest.mark.parametrize(
    ("error", "storage"),
    [
        (no_space(), True),
        *((OSError(number, os.strerror(number)), True) for number in REFUSALS),
        *(
            (RuntimeError(f"Error while serializing: I/O error: (os error {number})"), True)
            for number in REFUSALS
        ),
        (RuntimeError("CUDA error: Operation not permitted"), False),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), False),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_errors_of_the_storage_are_told_from_others(error: Exception, storage: bool) -> None:
    assert is_storage_error(error) is storage


@pytest.mark.parametrize(("number", "storage"), [(errno.EACCES, True), (errno.ENOENT, False)])
def test_a_sentence_stands_for_the_error_that_it_was_made_of(number: int, storage: bool) -> None:
    def read() -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise UserError(f"teacher.safetensors: cannot be read ({error.strerror})") from None

    with pytest.raises(UserError) as told:
        read()
    assert is_storage_error(told.value) is storage


def test_the_first_error_is_kept_and_nothing_is_called_after_it() -> None:
    class Owner:
        calls = 0

        def act(self) -> str:
            self.calls += 1
            raise ValueError(f"call {self.calls}")

        def stop_all(self) -> bool:
            return False

    owner, guard = Owner(), ErrorGuard()
    guard.protect(owner, {"act": "nothing"})
    guard.stop_after_error(owner)
    assert not owner.stop_all()
    assert [owner.act(), owner.act()] == ["nothing", "nothing"]
    assert owner.calls == 1
    assert str(guard.error) == "call 1"
    assert owner.stop_all()


def test_a_worker_that_cannot_write_says_so_and_goes_on_with_the_next_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker(tmp_path)

    def full(*_: object) -> None:
        raise no_space()

    with monkeypatch.context() as patch:
        patch.setattr(trainable, "append_epoch", full)
        report = worker.step()
    assert (report["ended"], report["done"]) == (NOT_WRITTEN, True)
    assert "No space left on device" in report["reason"]
    worker.reset_config({"number": 1, "config": CONFIG})
    assert worker.step()["epoch"] == 1


@pytest.mark.parametrize("limit", [100, 5_000], ids=["the first file", "the model"])
def test_a_limit_on_the_size_of_files_is_no_failure_of_the_trial(tmp_path: Path, limit: int) -> None:
    worker = make_worker(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        reports = [worker.step()]
        while not reports[-1]["done"]:
            reports.append(worker.step())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert reports[-1]["ended"] == NOT_WRITTEN
    assert "File too large" in reports[-1]["reason"]
    folder = tmp_path / "trials" / "0000"
    assert not [path for path in folder.iterdir() if path.name.startswith(".") or path.name == ERROR]
    worker.reset_config({"number": 0, "config": CONFIG})
    while not (report := worker.step())["done"]:
        pass
    assert (report["ended"], report["epoch"]) == (BY_ITSELF, 2)


@pytest.mark.usefixtures("shared_ray")
def test_a_full_disk_ends_the_search_with_a_sentence_and_a_resume_completes_it(tracked_home: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device.*--resume one"):
        run(toy_plan(tracked_home, workers=1, trials=4, study="one"), listeners=[FullDisk()])
    before = record.read_record(tracked_home / "runs" / "one").trials
    assert sum(trial.state.is_finished() for trial in before) == 2
    outcome = run(toy_plan(tracked_home, workers=1, resume="one"))
    after = record.read_record(outcome.plan.folder).trials
    for old, new in zip(before, after, strict=False):
        if old.state.is_finished():
            assert (old.state, old.values, old.intermediate_values) == (
                new.state,
                new.values,
                new.intermediate_values,
            )
    assert [trial.state for trial in after].count(TrialState.FAIL) == 0
    assert sum(outcome.counts.values()) == 4


@pytest.mark.usefixtures("shared_ray")
def test_an_error_of_our_own_is_raised_as_it_is(tracked_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake in the searcher")

    monkeypatch.setattr(StudySearcher, "on_trial_result", broken)
    with pytest.raises(ZeroDivisionError, match="a mistake in the searcher"):
        run(toy_plan(tracked_home, workers=1, trials=2, study="one"))


@pytest.mark.usefixtures("shared_ray")
def test_a_stage_with_nothing_to_train_needs_no_room(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Ray would read its own file of no trials again, which a full disk has left empty."""
    with small_disk(tmp_path / "disk", request, megabytes=1) as disk:
        disk.fill()
        run_on_ray(
            make_corpus(),
            JobSearcher(JobList([]), JobResults(tmp_path / "final"), 1, None),
            workers=Workers(1, "cpu"),
            stopper=InterruptStopper(lambda: False),
            trials=tmp_path,
            scratch=disk.folder / "scratch",
        )
