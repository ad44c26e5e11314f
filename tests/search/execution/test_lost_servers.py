"""A search whose own Ray loses a server ends with a sentence, and a resume goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.record import record
from search.study import run
from tests.helpers.listeners import ServerKiller
from tests.helpers.toy_study import toy_plan
from tests.helpers.workers_here import keep_workers_here


@pytest.mark.parametrize("server", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_a_lost_server_of_ray_is_one_sentence_and_costs_no_trial(
    tracked_home: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "gcs_server":  # a process that has put objects into its raylet's store ends with the raylet
        keep_workers_here(monkeypatch)
    killer = ServerKiller(1, 1, server)
    with pytest.raises(UserError, match=f"process {server} was killed or has crashed.*--resume s"):
        run(toy_plan(tracked_home, workers=1, trials=3, study="s", scheduler="none"), listeners=[killer])
    assert killer.acted
    before = record.read_record(tracked_home / "runs" / "s").trials
    outcome = run(toy_plan(tracked_home, workers=1, resume="s"))
    assert outcome.counts == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    after = record.read_record(outcome.plan.folder).trials
    assert [trial.params for trial in before] == [trial.params for trial in after[: len(before)]]
