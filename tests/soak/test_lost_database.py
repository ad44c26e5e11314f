"""The record's database is restarted in the middle of a search."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rigsl.errors import UserError
from search import study
from search.confirm import stage
from search.record import record
from search.study import run
from search.terminal.progress import Progress
from tests.helpers.disturb import before
from tests.helpers.listeners import AtEpoch
from tests.helpers.postgres import Postgres
from tests.helpers.toy_study import toy_plan

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("shared_ray")]


class Outage(AtEpoch):
    """Stops the database, until the study has noticed."""

    def __init__(self, server: Postgres) -> None:
        super().__init__(1, 1)
        self.server = server

    def act(self) -> bool:
        self.server.stop()
        return True


def start_when_noticed(patch: pytest.MonkeyPatch, start: Callable[[], object]) -> None:
    """Let the server `start` when the study says that it does not answer."""
    note = Progress.note

    def noting(progress: Progress, message: str) -> None:
        note(progress, message)
        if "does not answer" in message:
            start()

    patch.setattr(Progress, "note", noting)


def test_a_study_in_postgresql_survives_a_restart_of_the_server_and_can_be_resumed(
    tracked_home: Path,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = toy_plan(tracked_home, trials=4, storage=postgres_server.url, study="pg")
    outage = Outage(postgres_server)
    start_when_noticed(monkeypatch, postgres_server.start)
    outcome = run(plan, listeners=[outage])
    assert outage.acted
    assert outcome.counts["complete"] + outcome.counts["pruned"] == 4
    output = capsys.readouterr().out
    assert "database does not answer" in output
    assert "database is back" in output
    assert not (plan.folder / record.JOURNAL).exists()
    before = record.read_record(plan.folder).trials
    again = toy_plan(tracked_home, workers=1, resume="pg", trials=6)
    assert again.storage == postgres_server.url
    after = run(again)
    assert after.counts["complete"] + after.counts["pruned"] == 6
    trials = record.read_record(plan.folder).trials
    assert [(t.params, t.values, t.intermediate_values) for t in trials[: len(before)]] == [
        (t.params, t.values, t.intermediate_values) for t in before
    ]
    for trial in trials:
        assert sorted(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
    with pytest.raises(UserError, match="holds a study pg already"):
        toy_plan(tracked_home, storage=postgres_server.url, study="pg", runs_dir=tracked_home / "other")


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize(
    ("owner", "moment"), [(Progress, "job_ended"), (stage, "open_test"), (study, "export_best")]
)
def test_a_restart_of_the_server_after_the_search_is_waited_for(
    tracked_home: Path,
    postgres_server: Postgres,
    owner: object,
    moment: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before(monkeypatch, owner, moment, postgres_server.stop)
    start_when_noticed(monkeypatch, postgres_server.start)
    finals = {"finalists": 2, "finalist_seeds": 1, "test_seeds": 1}
    plan = toy_plan(tracked_home, trials=3, storage=postgres_server.url, study=f"pg-{moment}", **finals)
    outcome = run(plan)
    assert outcome.exported is not None
    assert "database is back" in capsys.readouterr().out
    assert record.read_record(plan.folder).user_attrs[record.STANDING] == "finished: all 3 trials done"
