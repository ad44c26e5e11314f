"""`python -m rigsl build-corpus` and `describe`: a corpus of one's own files, and what is in a corpus."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.data.open.fine_tuned import encoders_path
from rigsl.data.own.columns import SPLIT_OF, USUAL_NAMES
from rigsl.data.own.features.modalities import MISSING
from rigsl.data.source import DATA_DIR, DATASETS, SUFFIX, load_corpus
from rigsl.errors import UserError
from rigsl.files import check_writable
from rigsl.wording import counted

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus


def build_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `build-corpus`."""
    parser.add_argument("--name", required=True, help="name of the corpus, for --dataset NAME")
    parser.add_argument(
        "--csv",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="transcripts with labels: CSV, TSV, JSON, JSON lines or Parquet, a row for each utterance",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the file to write (default: data/NAME{SUFFIX})"
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        default=[],
        metavar="SPLIT",
        help="the split of each file, such as train dev test; or the name of a column (default: what a "
        "column split or the names of the files say; else drawn by dialogue, stratified by class)",
    )
    parser.add_argument(
        "--column",
        nargs="+",
        default=[],
        metavar="MEANING=NAME",
        help=f"columns without a usual name, such as text=Line; meanings: {', '.join(USUAL_NAMES)}",
    )
    parser.add_argument(
        "--features",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="further modalities: .npz, .npy with an index, CSV, Parquet, or a folder of OpenFace's files",
    )
    parser.add_argument(
        "--missing",
        choices=MISSING,
        help="fill features that an utterance lacks, and mark them in a further column (default: refuse)",
    )
    parser.add_argument(
        "--labels-seen",
        nargs="+",
        default=[],
        metavar="SPLIT",
        help="splits whose labels the --features have learned from, such as train for a fine-tuned encoder",
    )
    parser.add_argument(
        "--encoder",
        default="all-MiniLM-L6-v2",
        metavar="NAME",
        help="name or folder of a sentence encoder; none: no features of the text (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="device of the encoder (default: %(default)s)")
    parser.add_argument("--encoding", metavar="NAME", help="of text files that are not UTF-8, such as cp1252")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of splits that are drawn (default: %(default)s)"
    )
    parser.add_argument("--licence", type=Path, metavar="FILE", help="text of the licence of the data")


def run_build_corpus(options: argparse.Namespace) -> int:
    """`build-corpus`: read the files, and write the corpus.

    Raises:
        UserError: an option, a file, a row or a feature is not valid.
    """
    from rigsl.data.own.build import CorpusOptions
    from rigsl.data.own.files import build_from_files
    from rigsl.device import resolve_device

    out = _out(options)
    columns = _pairs("--column", options.column)
    splits = options.splits
    if len(splits) == len(options.csv) == 1 and splits[0].lower() not in SPLIT_OF:
        columns, splits = columns | {"split": splits[0]}, []
    built = CorpusOptions(
        name=options.name,
        columns=columns,
        encoder=None if options.encoder.lower() == "none" else options.encoder,
        device=resolve_device(options.device),
        missing=options.missing,
        seed=options.seed,
        labels_seen=options.labels_seen,
    )
    features = {name: Path(path) for name, path in _pairs("--features", options.features).items()}
    corpus = build_from_files(
        options.csv,
        built,
        features=features,
        splits=splits,
        encoding=options.encoding,
        licence=options.licence,
        command=shlex.join(["python", "-m", "rigsl", *options.words]),
    )
    corpus.save(out)
    utterances, dialogues = counted(len(corpus.labels), "utterance"), counted(len(corpus.splits), "dialogue")
    print(f"{corpus.name}: {utterances} of {dialogues}, in {out}")
    print(f"content hash {corpus.content_hash()}")
    return 0


def _out(options: argparse.Namespace) -> Path:
    """The file to write, which is not that of another dataset."""
    if options.name.split("-")[0].lower() in map(str.lower, DATASETS):
        raise UserError(f"--name {options.name}: is that of a dataset of this project; choose another name")
    out: Path = options.out or DATA_DIR / f"{options.name}{SUFFIX}"
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out}: is not a {SUFFIX} file by its name; choose such a name")
    bundled = {dataset.open_file for dataset in DATASETS.values() if dataset.open_file}
    if out.name in bundled | {encoders_path(Path(name)).name for name in bundled}:
        raise UserError(f"{out}: has the name of a file of this project; choose another name")
    if not out.parent.is_dir():
        raise UserError(f"{out}: cannot be written, for there is no folder {out.parent}; make it first")
    check_writable(out)
    return out


def describe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `describe`."""
    parser.add_argument("name", metavar="NAME", help="of a corpus, such as MELD, or its file")
    parser.add_argument("--features", default="auto", help="feature set: auto, open or official")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the feature files")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="a .png, .svg or .pdf to draw it in, too"
    )


def run_describe(options: argparse.Namespace) -> int:
    """`describe`: print what is in a corpus and where it comes from, and draw it.

    Raises:
        UserError: there is no such corpus, or the picture cannot be written.
    """
    from rigsl.console import make_console
    from rigsl.data.own.description import describe
    from rigsl.data.own.picture import check_picture, draw_corpus

    if options.picture is not None:
        check_picture(options.picture)
    corpus = _corpus(options)
    console = make_console()
    for line in describe(corpus):
        console.print(line)
    if options.picture is not None:
        draw_corpus(corpus, options.picture)
        console.print(f"picture  {options.picture}")
    return 0


def _corpus(options: argparse.Namespace) -> Corpus:
    """The corpus of a name, or of a file."""
    from rigsl.data.corpus import Corpus

    if options.name.endswith(SUFFIX):
        return Corpus.load(Path(options.name))
    return load_corpus(options.name, options.features, options.data_dir)


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` words as a dict."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name and value):
            raise UserError(f"{option} {word}: is not of the form NAME=VALUE")
        if name in pairs:
            raise UserError(f"{option} {word}: {name} is given twice; give it once")
        pairs[name] = value
    return pairs
