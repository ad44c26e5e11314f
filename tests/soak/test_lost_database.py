"""The record's database is restarted in the middle of a search."""

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.record import record
from search.study import run
from search.terminal.progress import Progress
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

    def noticed(self, message: str) -> None:
        if "does not answer" in message:
            self.server.start()


def test_a_study_in_postgresql_survives_a_restart_of_the_server_and_can_be_resumed(
    tracked_home: Path,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = toy_plan(tracked_home, trials=4, storage=postgres_server.url, study="pg")
    outage, note = Outage(postgres_server), Progress.note

    def noting(progress: Progress, message: str) -> None:
        note(progress, message)
        outage.noticed(message)

    monkeypatch.setattr(Progress, "note", noting)
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
