"""The hyperparameter search: Ray Tune runs trials, Optuna proposes and records them, MLflow tracks them."""
