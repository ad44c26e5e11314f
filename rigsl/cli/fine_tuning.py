"""Options of the fine-tuning of encoders, which `build-features` and `build-corpus` share."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from typing import Any

from rigsl.data.open.settings import FineTuning


def fine_tuning_arguments(group: Any, without: Collection[str] = ()) -> None:
    """Add an option for every setting of `FineTuning` to an argument group, but for those `without` one."""
    for setting in dataclasses.fields(FineTuning):
        if setting.name not in without:
            help = f"{setting.metadata['help']} (default: {setting.default})"
            group.add_argument(f"--{setting.name}", type=type(setting.default), metavar="N", help=help)


def given_settings(options: argparse.Namespace, without: Collection[str] = ()) -> dict[str, Any]:
    """The settings that the command line gives, by name."""
    values = {
        setting.name: getattr(options, setting.name)
        for setting in dataclasses.fields(FineTuning)
        if setting.name not in without
    }
    return {name: value for name, value in values.items() if value is not None}


def processes_on(device: str) -> int:
    """Encoders that are fine-tuned at the same time: one on each core, or one on a GPU."""
    from rigsl.device import cores

    return cores() if device == "cpu" else 1
