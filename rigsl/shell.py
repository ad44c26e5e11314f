"""Commands and paths as they are printed: they can be pasted into the shell that the user is in."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def pasteable(*words: str | Path | None) -> str:
    """A command line, quoted for a POSIX shell; None is left out. A path is printed as by `short_path`."""
    texts = (_word(word) for word in words if word is not None)
    return shlex.join(texts)


def option(name: str, value: str | Path | None) -> tuple[str | Path, ...]:
    """The words ``--name value`` of a command; none without a value."""
    return () if value is None else (f"--{name}", value)


def dataset_option(dataset: str) -> tuple[str | Path, ...]:
    """The option that names a dataset; none for the default."""
    return option("dataset", None if dataset.upper() == "MELD" else dataset)


def short_path(path: Path) -> Path:
    """The path relative to the working directory, if it is in it; else absolute."""
    try:
        here, full = Path.cwd(), path.absolute()
    except OSError:  # the working directory was removed
        return path
    return full.relative_to(here) if full.is_relative_to(here) else full


def program(name: str) -> str:
    """The command for a program of this environment: its name if the shell finds this one, else its path."""
    path = Path(sys.executable).with_name(name)  # not resolved: an environment's python is a link
    on_shell_path = shutil.which(name)
    if on_shell_path is not None and Path(on_shell_path).absolute() == path.absolute():
        return name
    return str(short_path(path))


def _word(word: str | Path) -> str:
    """A word; a path that looks like an option gets a ``./``."""
    if not isinstance(word, Path):
        return word
    text = str(short_path(word))
    return f"./{text}" if text.startswith("-") else text
