"""The environment variables with which Ray is quiet, and does not do what a search does itself.

Ray reads some of them when it is imported. So they are set with the import of `search`, before any of its
modules imports Ray, and every process that Ray starts inherits them.
"""

from __future__ import annotations

import os

VARIABLES = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would have Ray copy the environment into every worker
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # do not print what nodes send to every driver, such as their end
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ray's handler would end the study and exit with code 0
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the report of a failure has no score
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's snapshots are never restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
}


def set_variables() -> None:
    """Set those that the user has not set."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
