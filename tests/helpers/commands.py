"""Commands as a user types them: refused in this process, or running in one of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def refusal(main, arguments, capsys):
    """What a refused command prints: one line on stderr; it ends with exit code 2."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr().err
    assert code == 2
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    return shown


def search_command(*arguments: str) -> list[str]:
    """The command line of ``run_search.py`` with these arguments."""
    from search.run_folder import ROOT

    return [sys.executable, str(ROOT / "run_search.py"), *arguments]


def start_search(home: Path, *arguments: str) -> subprocess.Popen:
    """``run_search.py`` in the working directory `home`, on the corpus there; it prints to ``output.txt``."""
    with (home / "output.txt").open("ab") as file:
        return subprocess.Popen(
            search_command("--data-dir", "data", *arguments),
            cwd=home,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
