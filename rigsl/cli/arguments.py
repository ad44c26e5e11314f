"""Parts that the command lines of the model share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rigsl.errors import UserError

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def data_arguments(parser: argparse.ArgumentParser, *, dataset: bool = True, features: str = "auto") -> None:
    """Where the data comes from, and where the work is done."""
    data = parser.add_argument_group("data")
    if dataset:
        data.add_argument("--dataset", default="MELD", help="MELD or IEMOCAP (default: %(default)s)")
    data.add_argument("--features", default=features, help="auto, open or official (default: %(default)s)")
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the feature files")
    data.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    data.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")


def corpus_and_device(options: argparse.Namespace) -> tuple[Corpus, str]:
    """What `data_arguments` asked for.

    Raises:
        UserError: there is no such corpus or device.
    """
    import torch

    from rigsl.data.source import load_corpus
    from rigsl.device import resolve_device

    device = resolve_device(options.device)
    if options.threads is not None:
        if options.threads < 1:
            raise UserError(f"--threads {options.threads}: take 1 or more")
        torch.set_num_threads(options.threads)
    return load_corpus(options.dataset, options.features, options.data_dir), device
