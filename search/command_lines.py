"""Command lines of ``run_search.py`` that are printed, or written into pages: they can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

from rigsl.shell import option, pasteable, program, short_path
from search.run_folder import ROOT


def search_command(*words: str | Path) -> str:
    """A command line for the shell that the user is in, wherever that is."""
    script = "run_search.py" if short_path(ROOT) == Path() else str(ROOT / "run_search.py")
    return pasteable(program("python"), script, *words)


def runs_dir_option(runs: Path) -> tuple[str | Path, ...]:
    """The option of `search_command` for the folder `runs` of all studies; none for the default."""
    return () if short_path(runs) == Path("runs") else option("runs-dir", runs)


def in_project(runs: Path) -> bool:
    """Whether the folder `runs` of all studies is the one of the project's folder."""
    return runs.resolve() == ROOT / "runs"


def page_command(runs: Path, *words: str | Path, named: bool = False) -> str:
    """A command line for a page, which is read later and from elsewhere.

    In the project's folder it is short; for studies in another one than ``runs/`` there, it has whole paths
    and works in every folder.

    Args:
        runs: the folder of all studies.
        words: options and their values; paths as `Path`.
        named: whether a word is the name of a study in `runs`.
    """
    if in_project(runs):
        start = ["python", "run_search.py"]
    else:
        python = program("python")
        start = [str(Path(python).absolute()) if "/" in python else python, str(ROOT / "run_search.py")]
        words = (*words, *option("runs-dir", runs)) if named else words
    texts = (page_path(runs, word) if isinstance(word, Path) else word for word in words)
    return shlex.join([*start, *texts])


def page_path(runs: Path, path: Path) -> str:
    """A path in a command of a page, like `page_command`; not quoted."""
    whole = path.resolve()
    return str(whole.relative_to(ROOT) if in_project(runs) and whole.is_relative_to(ROOT) else whole)
