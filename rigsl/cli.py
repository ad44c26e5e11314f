"""The command line of the model: train, test, predict, graph, build-features."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rigsl import config as configuration
from rigsl.config import FIELDS, RIGSLConfig
from rigsl.errors import UserError
from rigsl.graph_command import run_graph

EXAMPLES = """examples:
  python -m rigsl train --dataset MELD --out models/first --hidden_dim 64 --tau 0.4 --epochs 10
  python -m rigsl test --checkpoint models/first
  python -m rigsl predict --checkpoint models/first --split dev --out predictions.csv
  python -m rigsl graph --checkpoint models/first --dialogue test_17
  python -m rigsl build-features --csv MELD/ --encoder all-MiniLM-L6-v2 --out data/meld_open.safetensors

To search hyperparameters: python run_search.py --help"""

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def boolean(text: str) -> bool:
    """True or False, as the official command line writes them."""
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"'{text}' is not True or False")


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
    predict = _command(commands, "predict", "write a checkpoint's predictions as CSV", run_predict)
    _checkpoint_arguments(predict, default_split="test")
    predict.add_argument("--out", type=Path, required=True, metavar="FILE", help="the CSV file to write")
    graph = _command(commands, "graph", "show the graph that a checkpoint learned for a dialogue", run_graph)
    graph.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="a checkpoint folder")
    graph.add_argument("--dialogue", required=True, metavar="ID", help="name of a dialogue, such as test_17")
    graph.add_argument("--out", type=Path, default=Path("graphs"), metavar="DIR", help="default: %(default)s")
    _data_arguments(graph)
    build = _command(commands, "build-features", "MELD's public CSV files -> open features", run_build)
    build.add_argument("--csv", type=Path, required=True, metavar="DIR", help="folder of the three CSV files")
    build.add_argument(
        "--encoder", default="all-MiniLM-L6-v2", metavar="NAME", help="sentence-transformers name or folder"
    )
    build.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    build.add_argument("--device", default="cpu", help="where the encoder runs (default: %(default)s)")
    return parser


def _command(commands: Any, name: str, help: str, run: Callable[[argparse.Namespace], int]) -> Parser:
    made: Parser = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    made.set_defaults(run=run)
    return made


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", default="MELD", help="MELD or IEMOCAP (default: %(default)s)")
    data.add_argument("--features", default="auto", help="auto, open or official (default: %(default)s)")
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="folder of the feature files")
    data.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    data.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")


def _checkpoint_arguments(parser: argparse.ArgumentParser, default_split: str) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="a checkpoint folder")
    parser.add_argument("--split", default=default_split, help="train, dev or test (default: %(default)s)")
    _data_arguments(parser)


def _train_parser(commands: Any) -> None:
    train = _command(commands, "train", "train one configuration and keep its best epoch", run_train)
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the checkpoint folder to write"
    )
    train.add_argument("--config", type=Path, metavar="FILE", help="a config.toml to start from")
    _data_arguments(train)
    group = train.add_argument_group("hyperparameters (each overrides --config)")
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
    """`train`: fit, print every epoch, write the checkpoint."""
    from rich.console import Console

    from rigsl.checkpoint import save_checkpoint
    from rigsl.training import EpochReport, TrainingDiverged, fit

    corpus, device = _corpus_and_device(options)
    given = {name: value for name, value in vars(options).items() if name in FIELDS}
    base = configuration.from_toml(options.config).to_dict() if options.config else {}
    base.setdefault("modals", "".join(corpus.features))
    config: RIGSLConfig = configuration.from_mapping(base | given, "command line")
    console = Console(highlight=False)
    console.print(f"{corpus.name}: training configuration {config.content_hash()} on {device}")

    def show(report: EpochReport) -> None:
        mark = " *" if report.improved else ""
        console.print(
            f"epoch {report.epoch:3d}/{config.epochs}  loss {report.train_loss:8.4f}  "
            f"dev weighted F1 {report.validation.weighted_f1:.4f}  ({report.seconds:.1f} s){mark}"
        )

    try:
        result = fit(config, corpus.without_test_labels(), device=device, on_epoch=show)
    except TrainingDiverged as error:
        raise UserError(f"{error}; try a smaller lr") from None
    save_checkpoint(options.out, result.model)
    best = result.best
    console.print(
        f"best epoch {best.epoch}: dev weighted F1 {best.validation.weighted_f1:.4f}, "
        f"accuracy {best.validation.accuracy:.4f}; checkpoint in {options.out}\n"
        f"next: python -m rigsl test --checkpoint {options.out}",
        soft_wrap=True,
    )
    return 0


def run_test(options: argparse.Namespace) -> int:
    """`test`: scores of a checkpoint, per class too."""
    from rich.console import Console
    from sklearn.metrics import classification_report

    from rigsl.checkpoint import load_checkpoint
    from rigsl.training import evaluate

    model = load_checkpoint(options.checkpoint)
    corpus, device = _corpus_and_device(options)
    found = evaluate(model, corpus, options.split, device=device)
    console = Console(highlight=False)
    classes = list(range(len(corpus.classes)))
    console.print(f"{options.checkpoint} on {corpus.name}, {options.split} split")
    console.print(
        classification_report(
            found.labels,
            found.log_prob.argmax(axis=1),
            labels=classes,
            target_names=corpus.classes,
            digits=4,
            zero_division=0,
        )
    )
    weighted, accuracy, macro = found.scores.weighted_f1, found.scores.accuracy, found.scores.macro_f1
    console.print(f"weighted F1 {weighted:.4f}  accuracy {accuracy:.4f}  macro F1 {macro:.4f}")
    return 0


def run_predict(options: argparse.Namespace) -> int:
    """`predict`: one CSV row an utterance, with the probability of every class."""
    from rigsl.checkpoint import load_checkpoint
    from rigsl.predictions import write_predictions
    from rigsl.training import evaluate

    model = load_checkpoint(options.checkpoint)
    corpus, device = _corpus_and_device(options)
    found = evaluate(model, corpus, options.split, device=device)
    write_predictions(options.out, corpus, found)
    print(f"{len(found.rows)} predictions of the {options.split} split of {corpus.name} in {options.out}")
    return 0


def run_build(options: argparse.Namespace) -> int:
    """`build-features`: transcripts -> a corpus file."""
    from rigsl.data.open_features import build_open_features

    corpus = build_open_features(options.csv, encoder=options.encoder, out=options.out, device=options.device)
    size = options.out.stat().st_size / 1e6
    print(f"{corpus.name}: {len(corpus.labels)} utterances, {size:.1f} MB, in {options.out}")
    print(f"content hash {corpus.content_hash()}")
    return 0


def _corpus_and_device(options: argparse.Namespace) -> tuple[Any, str]:
    import torch

    from rigsl.data.source import load_corpus
    from rigsl.device import resolve_device

    device = resolve_device(options.device)
    if options.threads is not None:
        if options.threads < 1:
            raise UserError(f"--threads {options.threads}: take 1 or more")
        torch.set_num_threads(options.threads)
    return load_corpus(options.dataset, options.features, options.data_dir), device
