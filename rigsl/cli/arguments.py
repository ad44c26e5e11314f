"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rigsl.errors import UserError
from rigsl.redaction import redacted
from rigsl.shell import dataset_option, option, pasteable, program

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus

_MOST_THREADS = 1024


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {redacted(message)}; see `{self.prog} --help`\n")


def data_arguments(parser: argparse.ArgumentParser, *, dataset: bool = True, features: str = "auto") -> None:
    """Add the options that choose the data and the device."""
    data = parser.add_argument_group("data")
    if dataset:
        data.add_argument(
            "--dataset",
            default="MELD",
            metavar="NAME",
            help="MELD, IEMOCAP, or the name of a corpus file data/NAME.safetensors (default: %(default)s)",
        )
    data.add_argument(
        "--features", default=features, help="feature set: auto, open or official (default: %(default)s)"
    )
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the feature files")
    data.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    data.add_argument("--threads", type=int, metavar="N", help="number of CPU threads (default: all cores)")


def next_command(options: argparse.Namespace, checkpoint: Path, dataset: str) -> str:
    """The command that tests a checkpoint on the data of `options`, for the shell that the user is in."""
    features, data_dir = getattr(options, "features", "auto"), getattr(options, "data_dir", None)
    return pasteable(
        *(program("python"), "-m", "rigsl", "test", "--checkpoint", checkpoint),
        *dataset_option(dataset),
        *option("features", None if features == "auto" else features),
        *option("data-dir", data_dir),
    )


def corpus_and_device(
    options: argparse.Namespace, widths: Mapping[str, int] | None = None
) -> tuple[Corpus, str]:
    """The corpus and the device that the options of `data_arguments` choose.

    Args:
        options: of the command line.
        widths: modality letter -> the feature width that a model reads, if there is one already.

    Raises:
        UserError: there is no such corpus or device.
    """
    import torch

    from rigsl.data.open.emotions import for_model
    from rigsl.data.source import load_corpus
    from rigsl.device import resolve_device

    device = resolve_device(options.device)
    if options.threads is not None:
        if not 1 <= options.threads <= _MOST_THREADS:
            raise UserError(f"--threads {options.threads}: is not 1 to {_MOST_THREADS}")
        torch.set_num_threads(options.threads)
    corpus = load_corpus(options.dataset, options.features, options.data_dir)
    return corpus if widths is None else for_model(corpus, widths), device


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` words as a dict.

    Raises:
        UserError: a word is not of this form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name and value):
            raise UserError(f"{option} {word}: is not of the form NAME=VALUE")
        if name in found:
            raise UserError(f"{option} {word}: {name} is given twice; give it once")
        found[name] = value
    return found


def column_argument(parser: argparse.ArgumentParser, meanings: Iterable[str], when: str = "") -> None:
    """Add --column, which names the columns of a transcript."""
    parser.add_argument(
        "--column",
        nargs="+",
        default=[],
        metavar="MEANING=NAME",
        help=f"{when}columns without a usual name, such as text=Line; meanings: {', '.join(meanings)}",
    )
