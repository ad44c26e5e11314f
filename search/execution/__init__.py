"""The search itself: Ray Tune's loop, its workers, and the components that follow a study's events.

- tune_run: one run of Ray Tune's loop.
- searcher: proposes trials and writes to the record how they went.
- trainable: trains one trial in a Ray worker.
- background_writer: writes a worker's files in a thread.
- listener: the events of a study; its listeners are below, and the tracker and the terminal.
- stopper: ends the search when the budget is used up or on a signal.
- cleanup, clock: keeps the run folder small; wall time and GPU time used.
- signals: the first Ctrl-C or SIGTERM ends a search in good order.
- ray_session, ray_folder, ray_patches: a private Ray instance or a cluster; its files; corrections of Ray.
- ray_processes, ray_agent: which processes a private Ray has; what stands in for two of them.
- node_watch: ends a search whose cluster has lost all of its nodes.
"""
