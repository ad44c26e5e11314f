"""Search spaces: a TOML file, checked when it is read.

- space: `read_space`; fixed values, parameters, start points, scheduler, budgets, final stage.
- parameter: one searched hyperparameter; `Parameter.clip`.
- prior: what is believed about a parameter before the search.
- distributions: a parameter as an Optuna distribution.
- widen: a study whose ranges are widened by a resume.
- schedule: the section [scheduler]; when weak trials are stopped.
- budget: the limits of a study; the section [budget].
- extension: options with which a study that has ended goes on.
- confirmation: finalists, seeds and test; the section [final].
"""
