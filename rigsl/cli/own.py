"""`python -m rigsl build-corpus` and `describe`: a corpus of one's own files, and what is in a corpus."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.cli.arguments import column_argument, pairs
from rigsl.cli.fine_tuning import fine_tuning_arguments, given_settings, processes_on
from rigsl.data.open.emotions import has_emotions
from rigsl.data.open.fine_tuned import encoders_path
from rigsl.data.open.settings import FineTuning
from rigsl.data.own.columns import SPLIT_OF, USUAL_NAMES
from rigsl.data.own.features.modalities import MISSING
from rigsl.data.source import DATA_DIR, DATASETS, SUFFIX, is_corpus, load_corpus
from rigsl.errors import UserError
from rigsl.files import check_writable
from rigsl.wording import counted

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus


#: Settings of the fine-tuning that are no options of their own: --seed is one of all that is drawn.
_NO_OPTION = ("seed",)


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
    column_argument(parser, USUAL_NAMES)
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
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of splits that are drawn, and of the fine-tuning (default: %(default)s)",
    )
    parser.add_argument("--licence", type=Path, metavar="FILE", help="text of the licence of the data")
    tuned = parser.add_argument_group(
        "emotions",
        "log-probabilities of the classes by encoders that are fine-tuned on train, out of fold there",
    )
    tuned.add_argument(
        "--finetune",
        action="store_true",
        help="fine-tune the encoder and append the emotions; an interrupted build goes on where it was",
    )
    fine_tuning_arguments(tuned, _NO_OPTION)


def run_build_corpus(options: argparse.Namespace) -> int:
    """`build-corpus`: read the files, and write the corpus.

    Raises:
        UserError: an option, a file, a row or a feature is not valid.
    """
    from rigsl.data.open.cross_fitted import remove_states
    from rigsl.data.own.build import CorpusOptions
    from rigsl.data.own.files import build_from_files
    from rigsl.data.own.texts import NOT_FINE_TUNED
    from rigsl.device import resolve_device

    out, device = _out(options), resolve_device(options.device)
    encoders = encoders_path(out)
    columns = pairs("--column", options.column)
    splits = options.splits
    if len(splits) == len(options.csv) == 1 and splits[0].lower() not in SPLIT_OF:
        columns, splits = columns | {"split": splits[0]}, []
    built = CorpusOptions(
        name=options.name,
        columns=columns,
        encoder=None if options.encoder.lower() == "none" else options.encoder,
        device=device,
        missing=options.missing,
        seed=options.seed,
        labels_seen=options.labels_seen,
        fine_tuning=_fine_tuning(options),
        encoders=encoders,
        processes=processes_on(device),
    )
    features = {name: Path(path) for name, path in pairs("--features", options.features).items()}
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
    if has_emotions(corpus):
        remove_states(encoders)
    utterances, dialogues = counted(len(corpus.labels), "utterance"), counted(len(corpus.splits), "dialogue")
    print(f"{corpus.name}: {utterances} of {dialogues}, in {out}")
    print(f"content hash {corpus.content_hash()}")
    if has_emotions(corpus):
        print(f"fine-tuned encoders, for transcripts: {encoders}")
    if reason := corpus.provenance.get(NOT_FINE_TUNED):
        print(f"note: no encoder was fine-tuned: {reason}")
    return 0


def _fine_tuning(options: argparse.Namespace) -> FineTuning | None:
    """The settings of the fine-tuning, None without one."""
    given = given_settings(options, _NO_OPTION)
    if given and not options.finetune:
        raise UserError(f"--{next(iter(given))}: is an option of the fine-tuning; add --finetune")
    return FineTuning(**given, seed=options.seed) if options.finetune else None


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
    if options.finetune and is_corpus(encoders_path(out)):
        raise UserError(
            f"{encoders_path(out)}: is a corpus, and --finetune writes the fine-tuned encoders there; choose "
            "another --out"
        )
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
