"""After the search: finalists with fresh seeds, one test of winner and baseline, and their statistics.

- stage: `FinalStage`, from the finalists to the test; what it decides is in ``final.json``.
- race: the finalists, and when one of them is dropped.
- trainings: jobs, queues of jobs and their results; the Ray Tune searcher that hands them out.
- watchers: several watchers of such trainings as one.
- runner: runs such trainings on the workers of the search.
- evaluation: the only place that opens the test split.
- final_record: ``final.json`` as types.
- predictions: predictions of several trainings on one split, and their scores.
- bootstrap, wilcoxon: intervals and paired tests.
- summary: all statistics of a configuration, and of two configurations.
- answers: configuration, taught and average on test, and their numbers.
"""
