"""Ends a search whose cluster has lost its last node, or has got one that would train something else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

from rigsl.errors import UserError
from search.resources import cluster
from search.run_folder import STUDY

#: Seconds between two checks.
CHECK_EVERY = 5.0
#: Seconds without any node that can run a trial after which the search ends.
GIVE_UP_AFTER = 60.0


class NodeWatch(tune.Callback):  # type: ignore[misc]
    """Checks regularly that some node can run a trial; Ray itself would wait for one for ever.

    While there are fewer nodes than before, the search continues: trials wait for the slots that remain.

    A node that joins the cluster is checked as the others were before the search.

    Args:
        address: of the cluster.
        cpus: that a trial needs.
        gpus: that a trial needs, a fraction where trials share one.
        run: the run folder.
    """

    def __init__(self, address: str, cpus: int, gpus: float, run: Path) -> None:
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self.checks = cluster.NodeChecks(run / STUDY)
        self._last_check = self._last_success = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ray calls this several times a second.

        Raises:
            UserError: there was no node for a while, or a new one has other versions; a resume continues the
                trials that were running.
        """
        now = time.monotonic()
        if now - self._last_check < CHECK_EVERY:
            return
        self._last_check = now
        self.checks.look()
        if cluster.can_run_trial(self.cpus, self.gpus):
            self._last_success = now
        elif now - self._last_success > GIVE_UP_AFTER:
            raise UserError(
                f"--ray-address {self.address}: the cluster has no node left that can run a trial; start one "
                "again and continue with --resume"
            )
