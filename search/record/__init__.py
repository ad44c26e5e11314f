"""The record of a study: every trial, its state and its scores, in an Optuna storage.

- record: open and read a record; `score`, `scored`, `winner`, `counts`.
- states: the states of a trial in words.
- storage: a journal file, or a database with retries while it does not answer.
- journal: the journal file and its lock.
- matching: whether a record is that of a run folder.
- times: when trials began and ended, in UTC; the order of their ends.
- snapshot: `StudySnapshot`, ended trials, winner and counts from one look at the record.
- learning_curve: a trial's epochs, one JSON line each.
- trial_report: `TrialReport`, a trial's numbers after an epoch on their way from the worker to the record.
- lineage: trials that start from another trial's state.
- lock: at most one process per study.
"""
