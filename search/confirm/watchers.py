"""Several watchers of the final stage's trainings as one."""

from __future__ import annotations

from search.confirm.trainings import JobResult, JobWatcher
from search.record.trial_report import TrialReport


class JobWatchers:
    """Passes every event on to all `watchers`, in their order."""

    def __init__(self, *watchers: JobWatcher) -> None:
        self._watchers = watchers

    def job_started(self, label: str) -> None:
        """A job was handed to a worker."""
        for watcher in self._watchers:
            watcher.job_started(label)

    def job_epoch(self, label: str, report: TrialReport) -> None:
        """A job finished an epoch."""
        for watcher in self._watchers:
            watcher.job_epoch(label, report)

    def job_ended(self, label: str, result: JobResult) -> None:
        """A job has ended."""
        for watcher in self._watchers:
            watcher.job_ended(label, result)
