"""The commands of `python -m rigsl`, and the options of train, test, predict and graph.

`train` and `test` accept the official command lines as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rigsl import config as configuration
from rigsl.cli.arguments import Parser, column_argument, corpus_and_device, data_arguments, next_command
from rigsl.cli.build import build_arguments, run_build
from rigsl.cli.graph import run_graph
from rigsl.cli.official import import_arguments, run_import, run_official
from rigsl.cli.own import build_corpus_arguments, describe_arguments, run_build_corpus, run_describe
from rigsl.cli.teacher import teacher_arguments, teacher_of
from rigsl.config import FIELDS
from rigsl.console import run_command_line
from rigsl.errors import UserError, error_line
from rigsl.files import check_writable
from rigsl.inference.transcript import COLUMNS
from rigsl.interruption import exit_code, interruption_line
from rigsl.modalities import modals_text
from rigsl.official.flags import boolean, is_official
from rigsl.official.presets import preset
from rigsl.precisions import unsuited
from rigsl.wording import counted

EXAMPLES = """examples:
  python -m rigsl train --dataset MELD --out models/first --hidden_dim 64 --tau 0.4 --epochs 10
  python -m rigsl test --checkpoint models/first
  python -m rigsl predict --checkpoint models/first --split dev --out predictions.csv
  python -m rigsl predict --checkpoint models/first --csv conversation.csv
  python -m rigsl graph --checkpoint models/first --dialogue test_17
  python -m rigsl build-features --csv MELD/ --encoder all-MiniLM-L6-v2 --out data/meld_open.safetensors
  python -m rigsl build-corpus --name TALKS --csv talks.csv --features audio=audio.npz
  python -m rigsl describe TALKS --picture talks.png
  python -m rigsl import-checkpoint checkpoints/IEMOCAP.pkl

train and test accept the command lines of the official code, too, which have the flag --Dataset.
To search hyperparameters: python run_search.py --help"""
_FOLDER = "a checkpoint folder, or that of an average of models"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run_command_line(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] in (["train"], ["test"]) and is_official(words):
            return run_official(words[0], words[1:])
        options = _parser().parse_args(words, argparse.Namespace(words=words))
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except (UserError, OSError) as error:
        print(error_line(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(interruption_line(error), file=sys.stderr)
        return exit_code(error)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m rigsl",
        description="RIGSL: emotion recognition in conversations by graph structure learning.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _train_parser(commands)
    test = _command(commands, "test", "score a checkpoint on the test split", run_test)
    _checkpoint_arguments(test, default_split="test")
    _predict_parser(commands)
    graph = _command(commands, "graph", "show the graph that a model finds in a dialogue", run_graph)
    graph.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="a checkpoint folder")
    graph.add_argument("--dialogue", required=True, metavar="ID", help="name of a dialogue, such as test_17")
    graph.add_argument("--out", type=Path, default=Path("graphs"), metavar="DIR", help="default: %(default)s")
    data_arguments(graph)
    import_command = _command(
        commands, "import-checkpoint", "turn an official checkpoint into a checkpoint folder", run_import
    )
    import_arguments(import_command)
    build = _command(
        commands, "build-features", "make the open features from MELD's public CSV files", run_build
    )
    build_arguments(build)
    own = _command(commands, "build-corpus", "make a corpus of your own files", run_build_corpus)
    build_corpus_arguments(own)
    describe = _command(
        commands, "describe", "show what is in a corpus and where it comes from", run_describe
    )
    describe_arguments(describe)
    return parser


def _command(commands: Any, name: str, help: str, run: Callable[[argparse.Namespace], int]) -> Parser:
    parser: Parser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _checkpoint_arguments(parser: argparse.ArgumentParser, default_split: str, split: Any = None) -> None:
    """Add --checkpoint, --split and the data options; `split`: the group for --split, if it has one."""
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help=_FOLDER)
    (split or parser).add_argument(
        "--split", default=default_split, help="train, dev or test (default: %(default)s)"
    )
    data_arguments(parser)


def _predict_parser(commands: Any) -> None:
    help = "write the predictions of a checkpoint as CSV, or predict the emotions of your own transcript"
    predict = _command(commands, "predict", help, run_predict)
    source = predict.add_mutually_exclusive_group()
    _checkpoint_arguments(predict, default_split="test", split=source)
    source.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="a transcript instead of a split: CSV with the columns speaker, text and, optionally, dialogue, "
        "utterance, start and end (seconds, or 00:20:57,256), or with names that build-corpus knows",
    )
    column_argument(predict, COLUMNS, "with --csv: ")
    predict.add_argument("--out", type=Path, metavar="FILE", help="the CSV file to write")
    predict.add_argument(
        "--encoder",
        metavar="DIR",
        help="with --csv: folder of the sentence encoder (default: the installed one)",
    )


def _train_parser(commands: Any) -> None:
    train = _command(commands, "train", "train one configuration and keep its best epoch", run_train)
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the checkpoint folder to write"
    )
    start = train.add_mutually_exclusive_group()
    start.add_argument("--config", type=Path, metavar="FILE", help="a config.toml to start from")
    start.add_argument("--preset", metavar="NAME", help="official/iemocap or official/meld to start from")
    data_arguments(train)
    train.add_argument(
        "--force",
        action="store_true",
        help="train in a precision that the device is not made for, such as bf16 on a processor without "
        "bfloat16 instructions",
    )
    teacher_arguments(train)
    group = train.add_argument_group("hyperparameters (each overrides --config and --preset)")
    for name, spec in FIELDS.items():
        kind: Any = type(spec.default)
        help = f"{spec.metadata['help']} (default: {spec.default})".replace("%", "%%")
        group.add_argument(
            f"--{name}",
            type=boolean if kind is bool else kind,
            default=argparse.SUPPRESS,
            metavar=kind.__name__.upper(),
            help=help,
        )


def run_train(options: argparse.Namespace) -> int:
    """`train`: train, print every epoch, write the checkpoint of the best one."""
    from rigsl.cli.train import train_and_save

    check_writable(options.out, folder=True)
    corpus, device = corpus_and_device(options)
    given = {name: value for name, value in vars(options).items() if name in FIELDS}
    base = preset(options.preset).config.to_dict() if options.preset else {}
    base |= configuration.from_toml(options.config).to_dict() if options.config else {}
    base.setdefault("modals", modals_text(corpus.features))
    config = configuration.from_mapping(base | given, "command line")
    if not options.force and (reason := unsuited(device, config.precision)):
        raise UserError(f"precision = '{config.precision}': {reason}; take 'fp32', or give --force")
    train_and_save(config, corpus, options.out, device, teacher_of(options, corpus))
    print(f"next: {next_command(options, options.out, options.dataset)}")
    return 0


def run_test(options: argparse.Namespace) -> int:
    """`test`: the scores of a model or an average, over all classes and for each class."""
    from rigsl.cli.train import print_scores
    from rigsl.inference.average import Average, load_model
    from rigsl.training.checkpoint import read_teacher

    model = load_model(options.checkpoint)
    teacher = None if isinstance(model, Average) else read_teacher(options.checkpoint)
    corpus, device = corpus_and_device(options, model.schema.widths)
    print_scores(model, options.checkpoint, corpus, options.split, device, teacher)
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """`predict`: a CSV row for each utterance, with the probability of every class."""
    from rigsl.cli.transcript import run_transcript
    from rigsl.inference.average import evaluate_model, load_model
    from rigsl.inference.predictions import write_predictions

    if options.csv is not None:
        return run_transcript(options)
    for name in ("encoder", "column"):
        if getattr(options, name):
            raise UserError(f"--{name} is for a transcript; give one with --csv FILE")
    if options.out is None:
        raise UserError("--out FILE is missing; name the file to write, or give a transcript with --csv FILE")
    model = load_model(options.checkpoint)
    corpus, device = corpus_and_device(options, model.schema.widths)
    result = evaluate_model(model, corpus, options.split, device=device)
    write_predictions(options.out, corpus, result)
    predictions = counted(len(result.rows), "prediction")
    print(f"{predictions} of the {options.split} split of {corpus.name} in {options.out}")
    return 0
