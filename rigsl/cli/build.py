"""`python -m rigsl build-features`: MELD's transcripts -> a corpus file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rigsl.cli.fine_tuning import fine_tuning_arguments, given_settings, processes_on
from rigsl.data.open.settings import FineTuning
from rigsl.errors import UserError
from rigsl.wording import counted


def build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--csv", type=Path, required=True, metavar="DIR", help="folder of the three CSV files"
    )
    parser.add_argument(
        "--encoder", default="all-MiniLM-L6-v2", metavar="NAME", help="sentence-transformers name or folder"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    parser.add_argument("--device", default="cpu", help="device of the encoder (default: %(default)s)")
    tuned = parser.add_argument_group(
        "emotions", "log-probabilities of encoders that are fine-tuned on train, out of fold there"
    )
    tuned.add_argument(
        "--finetune",
        action=argparse.BooleanOptionalAction,
        help="fine-tune encoders and append the emotions (default); without: the corpus MELD-open 1",
    )
    tuned.add_argument(
        "--encoders", type=Path, metavar="FILE", help="append those of the encoders of an earlier build"
    )
    fine_tuning_arguments(tuned)


def run_build(options: argparse.Namespace) -> int:
    """Build the corpus and write it, its fine-tuned encoders beside it.

    Raises:
        UserError: options contradict each other, or the corpus cannot be built.
    """
    from rigsl.data.open.open_features import build_open_features
    from rigsl.device import resolve_device

    fine_tuning = _fine_tuning(options)
    device = resolve_device(options.device)
    corpus = build_open_features(
        options.csv,
        encoder=options.encoder,
        out=options.out,
        device=device,
        fine_tuning=fine_tuning,
        encoders=options.encoders,
        processes=processes_on(device),
    )
    size = options.out.stat().st_size / 1e6
    print(f"{corpus.name}: {counted(len(corpus.labels), 'utterance')}, {size:.1f} MB, in {options.out}")
    print(f"content hash {corpus.content_hash()}")
    return 0


def _fine_tuning(options: argparse.Namespace) -> FineTuning | None:
    """The settings of the fine-tuning, None without one."""
    given = given_settings(options)
    if options.encoders is not None and (options.finetune is not None or given):
        raise UserError("--encoders: these are fine-tuned already; leave out the options of the fine-tuning")
    if given and options.finetune is False:
        raise UserError(f"--{next(iter(given))}: is an option of the fine-tuning; leave out --no-finetune")
    return None if options.encoders is not None or options.finetune is False else FineTuning(**given)
