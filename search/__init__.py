"""The hyperparameter search: Ray Tune runs the trials, Optuna proposes and records them, MLflow tracks them."""
