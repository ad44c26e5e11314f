"""The states from which children start: snapshot files in the folders of the trials that wrote them."""

from __future__ import annotations

import re
from pathlib import Path

from search.record import lineage
from search.record.lineage import Origin
from search.run_folder import SNAPSHOTS


class Snapshots:
    """Which snapshots there are. Workers write them, this class removes them.

    Args:
        trials: folder of the trials' folders; None: there are no files, and every snapshot counts as
        available.
    """

    def __init__(self, trials: Path | None) -> None:
        self.trials = trials
        self.available = self._on_disk()

    def has(self, origin: Origin) -> bool:
        """Whether a child can start at `origin`."""
        return self.trials is None or origin in self.available

    def look_for(self, origin: Origin) -> bool:
        """Whether the snapshot at `origin` has been written since it was last looked for."""
        if self.trials is None or origin in self.available:
            return False
        if not lineage.snapshot_file(self.trials, origin).is_file():
            return False
        self.available.add(origin)
        return True

    def remove(self, origin: Origin) -> None:
        """Delete the snapshot at `origin`."""
        assert self.trials is not None
        lineage.snapshot_file(self.trials, origin).unlink(missing_ok=True)
        self.available.discard(origin)

    def clear(self) -> None:
        """Delete all snapshots, also those that were never looked for."""
        for origin in self._on_disk():
            self.remove(origin)
        self.available.clear()

    def _on_disk(self) -> set[Origin]:
        paths = [] if self.trials is None else self.trials.glob(f"*/{SNAPSHOTS}")
        return {Origin(int(path.parent.name), int(re.sub(r"\D", "", path.name))) for path in paths}
