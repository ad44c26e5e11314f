"""Tracking with MLflow: one parent run per study, one child run per trial, written in the background.

- tracker: `Tracker`, the background thread that brings MLflow up to date.
- event_log: what the driver notes for MLflow during a study.
- run_state: what one MLflow run should contain, from events or from the run folder.
- writer: writes what a run lacks; never twice.
- client: connection, experiment, environment variables, errors in words.
- registry: the exported model in MLflow's model registry.
- logged_model: a checkpoint in MLflow's format, which needs nothing of this project.
- system_metrics: use of processors, memory, disk, network and GPUs.
- sync: sends a finished or interrupted study to MLflow later (--sync).
"""
