"""Ends a search on a cluster that has lost its last node."""

from __future__ import annotations

import time
from typing import Any

from ray import tune

from rigsl.errors import UserError
from search.resources import cluster

#: Seconds between two looks at the nodes, and without any that carries a trial until the search ends.
EVERY, MISSED = 5.0, 60.0


class Carrying(tune.Callback):  # type: ignore[misc]
    """Asks now and then whether any node carries a trial; Ray itself would wait for one for ever.

    With fewer nodes than before a search goes on: trials wait for the places that are left.
    """

    def __init__(self, address: str, cpus: int, gpus: float) -> None:
        self.address, self.cpus, self.gpus = address, cpus, gpus
        self._asked = self._carried = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called several times a second.

        Raises:
            UserError: for a while there was no node; a resume goes on with the trials that were running.
        """
        now = time.monotonic()
        if now - self._asked < EVERY:
            return
        self._asked = now
        if cluster.carries(self.cpus, self.gpus):
            self._carried = now
        elif now - self._carried > MISSED:
            raise UserError(
                f"--ray-address {self.address}: the cluster has no node left that carries a trial; bring one "
                "back and go on with --resume"
            )
