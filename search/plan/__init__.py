"""From the user's options to a checked plan of a study.

- options: `SearchOptions`, what the user asks for; names, folders, free disk space.
- plan: `Plan`, a study that is ready to run.
- new_study: `prepare`, the plan of a new study.
- resume: the plan of a study that continues.
- checks: checks that both share.
- precisions: the precisions that the workers' devices are made for.
- warm_start: begin with the results of another study (--start-from).
- addresses: valid addresses of MLflow.
"""
