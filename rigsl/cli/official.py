"""`train` and `test` with the official flags, and `import-checkpoint`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.cli.arguments import Parser, corpus_and_device, data_arguments, next_command
from rigsl.errors import UserError
from rigsl.files import cannot_write, check_writable
from rigsl.official.flags import OfficialRun, from_official_flags, official_arguments
from rigsl.official.names import OFFICIAL_BACKBONES

if TYPE_CHECKING:
    from rigsl.model.rigsl import RIGSL

#: Printed if an official checkpoint is used without a GPU.
_DRAWN_ON_CPU = (
    "note: the random projection is not in the file and is drawn on the CPU; the official code draws it on a "
    "GPU, which gives other numbers (--device cuda)"
)


def run_official(command: str, arguments: list[str]) -> int:
    """`train` or `test` with an official command line.

    Raises:
        UserError: a value or a file is invalid, or the data are missing.
    """
    parser = Parser(
        prog=f"python -m rigsl {command}", description="The official command line.", allow_abbrev=False
    )
    official_arguments(parser)
    data_arguments(parser, dataset=False, features="official")
    if command == "train":
        parser.add_argument("--out", type=Path, metavar="DIR", help="default: checkpoints/DATASET-HASH")
    parser.add_argument("--model_path", type=Path, metavar="FILE", help="an official checkpoint, or a folder")
    options = parser.parse_args(arguments)
    run = from_official_flags(vars(options))
    options.dataset = run.dataset
    for note in run.notes:
        print(note)
    return _train(options, run) if command == "train" else _test(options, run)


def _train(options: argparse.Namespace, run: OfficialRun) -> int:
    from rigsl.cli.train import train_and_save

    if getattr(options, "testing", False) or options.model_path is not None:
        raise UserError("--testing and --model_path are for a trained model; use `python -m rigsl test`")
    out: Path = options.out or Path("checkpoints") / f"{run.dataset}-{run.config.content_hash()}"
    check_writable(out, folder=True)
    corpus, device = corpus_and_device(options)
    backbone = OFFICIAL_BACKBONES[run.config.backbone]
    unread = [f"--{name}" for name in backbone.unread if hasattr(options, name)] if backbone else []
    if unread:
        print(f"note: the official {run.config.backbone} never reads {', '.join(unread)}; this project does")
    print(
        "note: the best epoch is chosen on dev; the official code trains on train and dev and chooses on test"
    )
    train_and_save(run.config, corpus, out, device)
    print(f"next: {next_command(options, out, run.dataset)}")
    return 0


def _test(options: argparse.Namespace, run: OfficialRun) -> int:
    from rigsl.cli.train import print_scores
    from rigsl.inference.average import Average, load_model
    from rigsl.official.state import official_model, read_state

    path: Path | None = options.model_path
    if path is None:
        raise UserError("--model_path FILE is missing; give the checkpoint to test")
    if path.is_dir():
        model: RIGSL | Average = load_model(path)
        corpus, device = corpus_and_device(options, model.schema.widths)
    else:
        state = read_state(path)
        corpus, device = corpus_and_device(options)
        model = official_model(path, state, run.config, run.dataset, device)
        if device == "cpu":
            print(_DRAWN_ON_CPU)
    print_scores(model, path, corpus, "test", device)
    return 0


def import_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `import-checkpoint`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the official .pkl or .pth file")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder to write (default: FILE without its suffix)"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="official/iemocap or official/meld (default: inferred from the weights)",
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="device whose generator draws the random projection, which is not in the file: cpu, cuda or "
        "cuda:N; auto (the default): a GPU, on which the official code runs, or else the CPU",
    )
    official_arguments(parser)


def run_import(options: argparse.Namespace) -> int:
    """`import-checkpoint`: an official state dict -> a checkpoint folder with `official_quirks`."""
    from rigsl.device import resolve_device
    from rigsl.training.checkpoint import save_checkpoint

    path: Path = options.file
    out: Path = options.out or path.with_suffix("")
    if out == path:
        raise UserError(f"{path}: has no suffix to remove; say where to write with --out DIR")
    check_writable(out, folder=True)
    device = resolve_device(options.device)
    model, run = _imported(options, path, device)
    for note in [*run.notes, *([_DRAWN_ON_CPU] if device == "cpu" else [])]:
        print(note)
    try:
        save_checkpoint(out, model)
    except OSError as error:
        raise cannot_write(out, error) from None
    print(
        f"{path} -> {out}: {model.config.backbone}, hidden_dim {model.config.hidden_dim}, batch_size "
        f"{model.config.batch_size}\n"
        f"next: {next_command(options, out, run.dataset)}"
    )
    return 0


def _imported(options: argparse.Namespace, path: Path, device: str) -> tuple[RIGSL, OfficialRun]:
    """The model and its official run.

    Given flags override the preset, or the official defaults if there is no preset. With neither, the flags
    are inferred from the shapes of the weights, and the others are the published ones.
    """
    from rigsl.official.flags import FLAGS
    from rigsl.official.presets import preset
    from rigsl.official.state import inferred_flags, official_model, read_state

    state = read_state(path)
    given = {name: value for name, value in vars(options).items() if name in FLAGS}
    if options.preset is not None:
        run = preset(options.preset, given)
    elif given.keys() - {"Dataset"}:
        run = from_official_flags(given)
    else:
        flags = inferred_flags(state, path) | given
        run = preset(f"official/{flags['Dataset'].lower()}", flags)
    return official_model(path, state, run.config, run.dataset, device), run
