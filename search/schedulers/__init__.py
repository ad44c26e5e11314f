"""Schedulers: which weak trials are stopped early.

- registry: scheduler name -> factory; `make_scheduler`.
- factory: what a scheduler factory gets.
- recorded_curves: the learning curves in the record, which a new scheduler starts with.
- halving: asynchronous successive halving (asha), with several brackets (hyperband).
- median: the median stopping rule.
- pbt: population based training; pbt_scheduler: its Ray scheduler.
- perturb: how a child's hyperparameters differ from its parent's.
- parent_states: the snapshots from which children start.
"""
