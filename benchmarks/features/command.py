"""The command line: fine-tune, train, and print the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.corpora import part_of
from benchmarks.features import constructions, options, sizes
from benchmarks.features.constructions import Setup
from benchmarks.features.cuts import TEST, Cut, make_cuts, training_part
from benchmarks.features.encoders import Encoder, learn
from benchmarks.features.learners import train_all
from benchmarks.features.probe import probe_table
from benchmarks.features.tables import table_of_constructions, table_of_options, table_of_sizes
from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.data.open.emotions import without_emotions
from rigsl.data.open.meld import Transcript, read_meld
from rigsl.data.open.sentence_encoder import encoder_folder
from rigsl.data.open.settings import FineTuning
from rigsl.data.source import load_corpus
from rigsl.device import cores, resolve_device
from rigsl.errors import UserError
from search.space.space import read_space

#: The space whose second start point the constructions are compared with.
SPACE = Path(__file__).parent / "space.toml"
PARTS = ("options", "constructions", "probe", "size")


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    result.add_argument("--csv", type=Path, required=True, metavar="DIR", help="folder of MELD's CSV files")
    result.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="tables to make (default: all)"
    )
    result.add_argument("--cuts", type=int, default=4, help="pseudo-tests (default: 4)")
    result.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=sizes.SIZES,
        metavar="N",
        help="size: utterances of train (default: %(default)s)",
    )
    result.add_argument("--draws", type=int, default=2, help="size: pseudo-tests of these (default: 2)")
    result.add_argument("--encoder", default="all-MiniLM-L6-v2", help="sentence-transformers name or folder")
    result.add_argument("--device", default="cpu", help="of the fine-tuning (default: cpu)")
    result.add_argument(
        "--processes", type=int, default=cores(), help="at the same time (default: all cores)"
    )
    result.add_argument(
        "--folder",
        type=Path,
        default=Path("features-benchmark"),
        help="of what is done (default: %(default)s)",
    )
    result.add_argument("--only-encoders", action="store_true", help="fine-tune, and train no models")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    chosen = parser().parse_args(arguments)
    try:
        _run(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(chosen: argparse.Namespace) -> None:
    transcript = training_part(read_meld(chosen.csv))
    settings = FineTuning()
    cuts = make_cuts(transcript, chosen.cuts, settings.folds, seed=0)
    needed: list[Encoder] = []
    if "options" in chosen.parts:
        needed += options.needed_encoders(transcript)
    if "constructions" in chosen.parts:
        needed += [one for cut in cuts for one in constructions.needed_encoders(cut, settings)]
    if "size" in chosen.parts:
        drawn = sizes.samples(transcript, cuts[: chosen.draws], chosen.sizes)
        needed += [one for sample in drawn for one in sizes.needed_encoders(sample)]
    encoders = chosen.folder / "encoders"
    if needed:
        base, device = encoder_folder(chosen.encoder), resolve_device(chosen.device)
        learn(needed, transcript, base, encoders, device, chosen.processes)
    if chosen.only_encoders:
        return
    corpus = _training_corpus(transcript)
    space = read_space(SPACE)
    config = space.config(space.starts[1], seed=0)
    if "options" in chosen.parts:
        print(table_of_options(options.out_of_fold(transcript, corpus, encoders), transcript.labels), "\n")
    if "constructions" in chosen.parts:
        setups = [
            setup
            for number, cut in enumerate(cuts)
            for setup in constructions.setups(number, cut, settings, encoders)
        ]
        scored = _predictions(chosen, "models", setups, [config] * len(setups), cuts, corpus)
        print(table_of_constructions(*scored), "\n")
    if "size" in chosen.parts:
        setups = [pair for number, one in enumerate(drawn) for pair in sizes.setups(number, one, encoders)]
        name = "-".join(map(str, ["models-of", *chosen.sizes]))
        configs = [sizes.config_of(setup, config) for setup in setups]
        scored = _predictions(chosen, name, setups, configs, drawn, corpus)
        print(table_of_sizes([size for _ in cuts[: chosen.draws] for size in chosen.sizes], *scored), "\n")
    if "probe" in chosen.parts:
        print(probe_table(load_corpus("MELD", "open")))


def _predictions(
    chosen: argparse.Namespace,
    name: str,
    setups: list[Setup],
    configs: list[RIGSLConfig],
    cuts: list[Cut],
    corpus: Corpus,
) -> tuple[list[Setup], list[np.ndarray], np.ndarray, dict[tuple[str, int], np.ndarray]]:
    """What the tables are made of: setups, pseudo-tests, labels, and the predictions of all models."""
    tests = [cut.split == TEST for cut in cuts]
    predictions = train_all(setups, tests, corpus, configs, chosen.folder / name, chosen.processes)
    return setups, tests, corpus.labels, predictions


def _training_corpus(transcript: Transcript) -> Corpus:
    """Frozen vectors and delivery of the training dialogues.

    Raises:
        UserError: the transcript is not that of the bundled corpus.
    """
    corpus = without_emotions(load_corpus("MELD", "open"))
    part = part_of(corpus, corpus.dialogues("train"))
    if part.dialogue_ids != transcript.dialogue_ids or not np.array_equal(part.labels, transcript.labels):
        raise UserError("--csv: these are not the transcripts of the bundled corpus")
    return part
