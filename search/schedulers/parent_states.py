"""The states from which children can begin, as files in the folders of the trials that wrote them."""

from __future__ import annotations

import re
from pathlib import Path

from search.record import lineage
from search.record.lineage import Origin
from search.run_folder import SNAPSHOTS


class Snapshots:
    """Which states there are; a worker writes them, this class drops them.

    Args:
        trials: the folder of the trials' folders; None: there are none, and every state is taken to be there.
    """

    def __init__(self, trials: Path | None) -> None:
        self.trials = trials
        self.held = self._found()

    def has(self, where: Origin) -> bool:
        """Whether a child can begin at `where`."""
        return self.trials is None or where in self.held

    def look(self, where: Origin) -> bool:
        """Whether there is a new state at `where`."""
        if self.trials is None or where in self.held or not lineage.snapshot(self.trials, where).is_file():
            return False
        self.held.add(where)
        return True

    def drop(self, where: Origin) -> None:
        """Remove a state."""
        assert self.trials is not None
        lineage.snapshot(self.trials, where).unlink(missing_ok=True)
        self.held.discard(where)

    def clear(self) -> None:
        """Remove all states, those too that nobody was told of."""
        for where in self._found():
            self.drop(where)
        self.held.clear()

    def _found(self) -> set[Origin]:
        paths = [] if self.trials is None else self.trials.glob(f"*/{SNAPSHOTS}")
        return {Origin(int(path.parent.name), int(re.sub(r"\D", "", path.name))) for path in paths}
