"""Output that cannot stop a command, and texts that are printed as they are."""

import ast
import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from rigsl.console import LastingOutput, lasting_output, make_console, run_command_line
from search.run_folder import ROOT


class Broken(io.StringIO):
    """A stream that takes so many characters and then raises an error."""

    def __init__(self, room: int, error: Exception, terminal: bool = False) -> None:
        super().__init__()
        self.room, self.error, self.terminal = room, error, terminal

    def write(self, text: str) -> int:
        if self.tell() + len(text) > self.room:
            raise self.error
        return super().write(text)

    def isatty(self) -> bool:
        return self.terminal


GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")
FULL = OSError(errno.ENOSPC, "No space left on device")
HANGUP = OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("error", "terminal", "problem"),
    [
        (GONE, False, ""),
        (FULL, False, "No space left on device"),
        (HANGUP, True, ""),
        (HANGUP, False, "Input/output error"),
        (ValueError("I/O operation on closed file."), False, ""),
    ],
)
def test_a_lost_stream_drops_what_follows(error: Exception, terminal: bool, problem: str) -> None:
    stream = Broken(6, error, terminal)
    output = LastingOutput(stream)
    for word in ("one\n", "two\n", "three\n"):
        assert output.write(word) == len(word)
        output.flush()
    assert stream.getvalue() == "one\n"
    assert (output.lost, output.problem, output.isatty()) == (True, problem, False)


def test_a_log_takes_what_nobody_read(tmp_path) -> None:
    output = LastingOutput(Broken(6, GONE))
    assert not output.continue_in(tmp_path / "log")  # it is not lost
    output.write("one\n")
    output.flush()
    output.write("two\n")
    output.write("three\n")
    assert not output.continue_in(tmp_path / "log")  # nothing has to be written again
    assert not output.continue_in(tmp_path / "other")
    output.write("four\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "two\nthree\nfour\n"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_picture_of_a_terminal_is_not_logged(tmp_path) -> None:
    output = LastingOutput(Broken(6, HANGUP, terminal=True))
    output.write("panel\n")
    output.write("panel\n")
    assert output.continue_in(tmp_path / "log")
    output.write("a line\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "a line\n"


def test_a_log_that_cannot_be_written_is_no_error_either(tmp_path) -> None:
    output = LastingOutput(None)
    assert output.lost
    output.continue_in(tmp_path)  # a folder
    assert output.write("one") == 3


def test_letters_that_an_encoding_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    output = LastingOutput(io.TextIOWrapper(raw, encoding="ascii"))
    output.write("\u22120.5 \udcff")
    output.flush()
    assert raw.getvalue() == rb"\u22120.5 \udcff"


def test_texts_are_no_markup() -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    text = "runs/[old]/:smile: [/x] [bold]"
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        console = make_console()
        console.print(text)
        table = Table(text, title=text)
        table.add_row(text)
        console.print(table)
        console.print(Panel("", title=Text(text)))
    assert stream.getvalue().count(text) == 5


def test_every_console_is_made_in_one_place() -> None:
    made = []
    for path in [*(ROOT / "rigsl").rglob("*.py"), *(ROOT / "search").rglob("*.py"), ROOT / "run_search.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = (
                getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            )
            if name in ("Console", "PlainConsole"):
                made.append(path.relative_to(ROOT).as_posix())
    assert made == ["rigsl/console.py"]


def test_a_command_says_that_its_output_was_lost(capsys: pytest.CaptureFixture) -> None:
    def command() -> int:
        print("a score")
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(3, FULL))
        assert run_command_line(command) == 2
        assert capsys.readouterr().err == "error: the output cannot be written (No space left on device)\n"
        patch.setattr(sys, "stdout", Broken(3, GONE))
        assert run_command_line(command) == 0
        patch.setattr(sys, "stdout", Broken(30, GONE))
        assert run_command_line(command) == 0
    assert capsys.readouterr().err == ""


def test_a_terminal_obeys_nothing_in_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    console.print("a\x1b]0;title\x07 b\x9b31m\r c\n\td é 😀")
    table = Table("\x1b[31m")
    table.add_row("\x1b[2J")
    console.print(table)
    shown = capsys.readouterr().out
    assert "a\\x1b]0;title\\x07 b\\x9b31m\\r c\n" in shown
    assert "d é 😀" in shown
    assert "\\x1b[2J" in shown
    assert not {"\x1b", "\x07", "\x9b", "\r"} & {*shown}


def test_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with lasting_output() as output:
        assert sys.stdout is output
        assert make_console().file is output
    assert (sys.stdout, sys.stderr) == before


PROGRAM = """
import sys
from rigsl.console import run_command_line
def command():
    for number in range(20000):
        print("line", number)
    print("done", file=sys.stderr)
    return 0
sys.exit(run_command_line(command))
"""


def test_a_real_reader_that_goes_away(tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == "done\n"
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_real_disk_that_is_full() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr == "done\nerror: the output cannot be written (No space left on device)\n"
    assert done.returncode == 2
