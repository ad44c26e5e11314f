"""What MLflow gets of a study: from its events, after failures, and from the run folder; without Ray."""

import contextlib
import shutil
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rigsl.errors import UserError
from search import run_folder
from search.record import learning_curve, lock, record
from search.tracking import sync as syncing
from search.tracking import system_metrics
from search.tracking import tracker as tracking
from search.tracking.sync import sync
from search.tracking.system_metrics import SystemMonitor, read_system
from search.tracking.tracker import Tracker
from search.tracking.writer import Writer
from tests.helpers.mlflow_contents import assert_held, runs_at
from tests.helpers.played_study import PlayedStudy
from tests.helpers.run_folders import make_final


@pytest.fixture
def home(home: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with two empty databases of MLflow, and a tracker that loses no time."""
    for name in ("mlflow.db", "other.db"):
        shutil.copy(empty_mlflow, home / name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for name in ("UPDATE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(tracking, name, 0.1)
    return home


def track(played: PlayedStudy) -> Tracker:
    """A tracker of the study."""
    return Tracker(played.folder, played.plan.tracking_uri, played.study)


def interrupt(played: PlayedStudy, tracker: Tracker) -> None:
    """The end of a study that the user interrupts."""
    played.study.set_user_attr(record.STANDING, "interrupted")
    tracker.interrupted()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread brings about."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


class Ending(Exception):
    """Ends a block as a crash does."""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """System metrics are read and written quickly."""
    monkeypatch.setattr(system_metrics, "READ_SECONDS", 0.02)
    monkeypatch.setattr(system_metrics, "LINE_SECONDS", 0.05)


def test_every_part_of_a_study_is_in_mlflow_through_interruptions_and_a_crash(home: Path, machine) -> None:
    uri = f"sqlite:///{home}/mlflow.db"
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 3, last="failed")
        interrupt(played, tracker)
    assert_held(uri, played.folder)
    played = PlayedStudy(home, uri)
    with contextlib.suppress(Ending), track(played) as tracker:
        played.play([tracker], 2, last="running")
        raise Ending
    assert_held(uri, played.folder)
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 2, epochs=4)
        wait_until(lambda: read_system(played.folder))
        tracker.done("all done", played.finish())
    assert tracker.problem is None
    assert_held(uri, played.folder)
    assert runs_at(uri)["study"][0].data.metrics["test_weighted_f1"] == pytest.approx(0.31)


def test_mlflow_is_imported_when_the_first_epoch_has_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    asked, epoch = Writer.find_runs, Tracker.epoch

    def noted_asking(*arguments: Any, **options: Any) -> None:
        events.append("MLflow")
        asked(*arguments, **options)

    def noted_epoch(*arguments: Any) -> None:
        events.append("epoch")
        epoch(*arguments)

    monkeypatch.setattr(tracking, "START_SECONDS", 600.0)
    monkeypatch.setattr(Writer, "find_runs", noted_asking)
    monkeypatch.setattr(Tracker, "epoch", noted_epoch)
    played = PlayedStudy(home, f"sqlite:///{home}/mlflow.db")
    with track(played) as tracker:
        played.play([tracker], 1, last="running")
        wait_until(lambda: "MLflow" in events)
    assert events[0] == "epoch"


def test_the_answers_on_test_are_metrics_of_the_study(home: Path) -> None:
    uri = f"sqlite:///{home}/mlflow.db"
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 2)
        final = make_final(played.plan, played.study, answers=("taught", "average"))
        tracker.done("all done", played.finish())
    assert tracker.problem is None
    metrics = runs_at(uri)["study"][0].data.metrics
    average = final["test"]["average"]
    assert metrics["average_test_weighted_f1"] == average["winner"]["weighted_f1"]["mean"]
    assert metrics["average_test_low"] == average["winner"]["interval"]["low"]
    assert metrics["average_test_p"] == average["difference"]["bootstrap"]["p"]
    assert (metrics["average_members"], metrics["average_parameters"]) == (12, 1_481_472)
    assert metrics["taught_test_baseline"] == final["test"]["taught"]["baseline"]["weighted_f1"]["mean"]
    assert metrics["configuration_test_weighted_f1"] == metrics["winner_test_mean"]
    assert "configuration_members" not in metrics, "what is not known is no metric"


def test_a_study_with_the_configuration_alone_has_its_metrics_alone(home: Path) -> None:
    played = PlayedStudy(home, f"sqlite:///{home}/mlflow.db")
    with track(played) as tracker:
        played.play([tracker], 2)
        make_final(played.plan, played.study)
        tracker.done("all done", played.finish())
    metrics = runs_at(f"sqlite:///{home}/mlflow.db")["study"][0].data.metrics
    assert "winner_test_mean" in metrics
    assert not any(name.startswith(("configuration_", "taught_", "average_")) for name in metrics)


def test_what_a_killed_study_could_not_send_is_sent_later_and_only_once(home: Path, machine) -> None:
    away = PlayedStudy(home, "http://127.0.0.1:9")
    with contextlib.suppress(Ending), track(away) as tracker:
        away.play([tracker], 4, last="running")
        wait_until(lambda: tracker.problem)
        raise Ending
    assert "127.0.0.1:9 refuses the connection" in tracker.problem
    assert tracker.problem.endswith("not sent: the study's run and trials 0, 1, 2, 3")
    with (away.folder / system_metrics.SYSTEM).open("a") as file:
        file.write('{"time": 17')
    uri, messages = f"sqlite:///{home}/mlflow.db", []
    sent = sync(away.folder, uri, notify=messages.append)
    assert (sent.problem, sent.runs, messages) == (
        None,
        5,
        ["0 of 4 trials are up to date", "4 of 4 trials are up to date"],
    )
    assert_held(uri, away.folder)
    before = snapshot(uri)
    again = sync(away.folder, uri)
    assert (again.problem, again.runs, again.metrics, again.files) == (None, 0, 0, 0)
    assert snapshot(uri) == before
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 2)
        tracker.done("all done", played.finish())
    assert_held(uri, played.folder)
    other = f"sqlite:///{home}/other.db"
    assert sync(played.folder, other).files == 2
    assert sync(played.folder, other).files == 0
    assert_held(other, played.folder)
    assert snapshot(other, times=True) == snapshot(uri, times=True), "sent late, it is the same"


def test_epochs_without_a_time_end_with_their_trial(home: Path) -> None:
    from mlflow import MlflowClient

    played, uri = PlayedStudy(home, "http://127.0.0.1:9"), f"sqlite:///{home}/mlflow.db"
    played.play([track(played)], 1)
    folder = run_folder.trial_folder(played.folder, 0)
    lines = [
        {name: line[name] for name in line if name != "time"} for line in learning_curve.read_curve(folder)
    ]
    learning_curve.write_curve(folder, lines)
    assert sync(played.folder, uri).problem is None
    end = int(1000 * played.study.trials[0].user_attrs["ended_at"])
    history = MlflowClient(uri).get_metric_history(runs_at(uri)["trial"][0].info.run_id, "train_loss")
    assert [(metric.step, metric.timestamp) for metric in history] == [
        (1, end - 500),
        (2, end - 250),
        (3, end),
    ]


def test_the_command_line_says_what_was_sent(
    home: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import run_search

    monkeypatch.setattr(syncing, "RETRY_SECONDS", 0.0)
    played, uri = PlayedStudy(home, "http://127.0.0.1:9"), f"sqlite:///{home}/mlflow.db"
    played.play([], 2)
    assert run_search.main(["--sync", "one"]) == 1
    assert "127.0.0.1:9 refuses the connection; not sent: the study's run and trials 0, 1" in printed(capsys)
    assert run_search.main(["--sync", "one", "--tracking-uri", uri]) == 0
    assert "2 of 2 trials are up to date" in printed(capsys)
    assert_held(uri, played.folder)
    with lock.hold(played.folder / run_folder.LOCK):
        assert run_search.main(["--sync", "one", "--tracking-uri", uri]) == 2
    assert "being run by another process" in printed(capsys)


def printed(capsys: pytest.CaptureFixture) -> str:
    """All that was printed since the last call."""
    return "".join(capsys.readouterr())


def snapshot(uri: str, times: bool = False) -> dict:
    """Everything that MLflow holds, by name; `times`: of the metrics, too."""
    from mlflow import MlflowClient

    content = {}
    for run in [run for runs in runs_at(uri).values() for run in runs]:
        tags = {name: value for name, value in run.data.tags.items() if name != "mlflow.parentRunId"}
        history = [
            (metric.key, metric.step, metric.value, metric.timestamp if times else 0)
            for name in run.data.metrics
            for metric in MlflowClient(uri).get_metric_history(run.info.run_id, name)
        ]
        content[run.info.run_name] = (
            tags,
            run.data.params,
            run.info.status,
            run.info.start_time,
            sorted(history),
        )
    return content


def test_a_server_that_comes_back_gets_what_it_missed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played, uri = PlayedStudy(home, f"sqlite:///{home}/mlflow.db"), f"sqlite:///{home}/mlflow.db"
    find_runs = Writer.find_runs
    with track(played) as tracker:
        with monkeypatch.context() as away:
            away.setattr(Writer, "find_runs", lambda writer, **_: find_runs(None))
            played.play([tracker], 3, last="failed")
            trials = [run for number, run in tracker.runs.items() if number >= 0]
            wait_until(lambda: not any(run.entries for run in trials))  # they are in the run folder
        played.play([tracker], 2)
        interrupt(played, tracker)
    assert tracker.problem is None
    assert_held(uri, played.folder)


def test_a_study_that_runs_is_not_synced(home: Path) -> None:
    played = PlayedStudy(home, f"sqlite:///{home}/mlflow.db")
    with (
        lock.hold(played.folder / run_folder.LOCK),
        pytest.raises(UserError, match="being run by another process"),
    ):
        sync(played.folder)
    with pytest.raises(UserError, match="has no trial yet"):
        sync(played.folder)
    with pytest.raises(UserError, match="cannot be read"):
        sync(home / "runs" / "none")


class Server(BaseHTTPRequestHandler):
    """Answers everything with an error, or not at all."""

    hanging = threading.Event()

    def answer(self) -> None:
        if self.hanging.is_set():
            time.sleep(1.5)  # longer than a request may take
            return
        self.send_response(500)
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("hanging", "problem"), [(False, "answers with error 500"), (True, "does not answer")]
)
def test_a_server_in_trouble_is_named_and_costs_nothing(
    home: Path, server: str, hanging: bool, problem: str
) -> None:
    (Server.hanging.set if hanging else Server.hanging.clear)()
    played = PlayedStudy(home, server)
    with track(played) as tracker:
        played.play([tracker], 2)
        wait_until(lambda: tracker.problem)
    assert f"{server} {problem}; not sent: the study's run and trials 0, 1" == tracker.problem
    assert sync(played.folder, f"sqlite:///{home}/mlflow.db").problem is None


def test_a_run_whose_answer_was_lost_is_not_made_twice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    create, requests = MlflowClient.create_run, []

    def late(client: MlflowClient, *arguments, **named):
        requests.append(named["run_name"])
        if len(requests) == 3:  # the server hangs; it will see this request later
            raise MlflowException("timed out")
        created = create(client, *arguments, **named)
        if len(requests) == 1:  # it created the run, and the answer did not come in time
            raise MlflowException("timed out")
        if len(requests) == 4:  # it sees both
            create(client, *arguments, **named)
        return created

    monkeypatch.setattr(MlflowClient, "create_run", late)
    uri = f"sqlite:///{home}/mlflow.db"
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 2)
        wait_until(lambda: len(requests) == 4)
        interrupt(played, tracker)
    assert requests == ["one", "trial 0", "trial 1", "trial 1"]
    assert tracker.problem is None
    assert_held(uri, played.folder)


def test_a_run_that_the_user_deleted_keeps_nothing_back(home: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{home}/mlflow.db"
    played = PlayedStudy(home, uri)
    with track(played) as tracker:
        played.play([tracker], 1, last="running")
        wait_until(lambda: runs_at(uri)["trial"])
        MlflowClient(uri).delete_run(runs_at(uri)["trial"][0].info.run_id)
        played.play([tracker], 3)
        interrupt(played, tracker)
    assert "deleted" in tracker.problem
    assert tracker.problem.endswith("not sent: trial 0")
    assert {run.info.run_name for run in runs_at(uri)["trial"]} == {"trial 1", "trial 2"}
    assert runs_at(uri)["study"][0].info.status == "KILLED"
    assert sync(played.folder).problem is None
    assert_held(uri, played.folder)


def test_two_studies_write_to_one_sqlite_file(home: Path) -> None:
    uri = f"sqlite:///{home}/mlflow.db"
    both = [PlayedStudy(home, uri, name) for name in ("one", "two")]
    with track(both[0]) as first, track(both[1]) as second:
        threads = [
            threading.Thread(target=played.play, args=([tracker], 6))
            for played, tracker in zip(both, (first, second), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for played, tracker in zip(both, (first, second), strict=True):
            interrupt(played, tracker)
    for played, tracker in zip(both, (first, second), strict=True):
        assert tracker.problem is None
        assert_held(uri, played.folder)


def measure(folder: Path, before: float, count: int) -> list[dict]:
    """The first lines of a system monitor."""
    lines: list[dict] = []
    enough = threading.Event()

    def on_line(line: dict) -> None:
        lines.append(line)
        if len(lines) == count:
            enough.set()

    monitor = SystemMonitor(folder, before, on_line)
    monitor.start()
    assert enough.wait(30)
    monitor.stop()
    return lines


def test_system_metrics_go_on_after_a_kill_and_past_a_broken_monitor(
    tmp_path: Path, machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor

    def broken(self: DiskMonitor) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(DiskMonitor, "collect_metrics", broken)
    first = measure(tmp_path, 0.0, 2)
    with (tmp_path / system_metrics.SYSTEM).open("a") as file:
        file.write('{"time": 17')  # cut off by a kill
    second = measure(tmp_path, first[-1]["seconds"] + 1.0, 2)
    lines = read_system(tmp_path)
    assert lines[: len(first)] == first
    assert all(line in lines for line in second)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(set(seconds))
    assert {"system/cpu_utilization_percentage", "system/network_receive_megabytes"} <= set(lines[0])
    assert not any("disk" in name for name in lines[0])


def test_every_gpu_is_measured_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.system_metrics.metrics import gpu_monitor

    monkeypatch.setitem(sys.modules, "pynvml", nvml := two_gpus())
    monkeypatch.setattr(gpu_monitor, "pynvml", nvml, raising=False)
    monitors = system_metrics.make_monitors()
    for _ in range(2):
        system_metrics.read_monitors(monitors)
    means = system_metrics.take_means(monitors)
    assert means["system/gpu_0_utilization_percentage"] == 15.0
    assert means["system/gpu_1_utilization_percentage"] == 75.0
    assert means["system/gpu_1_memory_usage_percentage"] == 50.0
    assert not any("power" in name for name in means), "a device that does not say its power"


def two_gpus() -> types.ModuleType:
    """NVIDIA's library on a machine with two devices; the load rises from look to look."""
    nvml, looks = types.ModuleType("pynvml"), [0, 0]

    class NVMLError(Exception):
        pass

    def rates(device: int) -> types.SimpleNamespace:
        looks[device] += 1
        return types.SimpleNamespace(gpu=(10 if device == 0 else 50) * (looks[device] - 1))

    def power(device: int) -> int:
        raise NVMLError("not supported")

    nvml.NVMLError = NVMLError
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetCount = lambda: 2
    nvml.nvmlDeviceGetHandleByIndex = lambda index: index
    nvml.nvmlDeviceGetMemoryInfo = lambda device: types.SimpleNamespace(used=5e9, total=10e9)
    nvml.nvmlDeviceGetUtilizationRates = rates
    nvml.nvmlDeviceGetPowerUsage = power
    return nvml
