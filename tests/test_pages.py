"""What the pages for users say can be followed: links lead somewhere, and every command line parses."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

import run_search
from rigsl.cli import main as rigsl_cli
from rigsl.official.flags import is_official
from search.run_folder import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "data" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]
#: A fenced block, an indented one, and code within a line.
CODE = re.compile(r"^ *```\w*\n(.*?)^ *```|^ {4}(\S[^\n]*)$|(?<!`)`([^`\n]+)`(?!`)", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(python run_search\.py|python -m rigsl|python -m benchmarks|make)\b.*")


def commands(page: Path) -> list[list[str]]:
    """The words of every command of this project on a page."""
    text = page.read_text(encoding="utf-8")
    code = ["".join(groups).replace("\\\n", " ") for groups in CODE.findall(text)]
    lines = [line.strip() for part in code for line in part.splitlines()]
    found = [COMMAND.match(line) for line in lines]
    return [shlex.split(match[0], comments=True) for match in found if match is not None]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_parses(page: Path) -> None:
    assert [shlex.join(words) for words in commands(page) if not parses(words)] == []


def parses(words: list[str]) -> bool:
    """Whether a command of this project is one, and takes these options."""
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return {word for word in words[1:] if "=" not in word} <= set(targets)
    try:
        if words[1] == "run_search.py":
            run_search.parser().parse_args(words[2:])
        elif words[2] != "rigsl":
            return importlib.util.find_spec(words[2]) is not None
        elif not is_official(words[3:]):
            named_only = len(words) <= 4  # a command that a sentence names, without its options
            rigsl_cli._parser().parse_args([*words[3:], *(["--help"] if named_only else [])])
    except SystemExit as stop:  # --help ends with 0, a mistake with 2
        return not stop.code
    return True


def test_the_commands_of_a_page_are_found() -> None:
    assert len(commands(ROOT / "README.md")) > 12
    assert not parses(["python", "run_search.py", "--no-such-option"])
    assert not parses(["make", "nothing"])


def test_the_layout_and_the_run_folder_of_the_readme_are_true() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [layout] = re.findall(r"^## Layout\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r"(?:^|\s{3,})([a-z_]+(?:\.py|/))\s", layout, re.MULTILINE)
    assert {"run_search.py", "search/", "data/", "docs/"} <= set(names)
    assert [name for name in names if not (ROOT / name).exists()] == []
