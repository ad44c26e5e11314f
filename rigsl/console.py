"""What a command prints: it never stops the command, and nothing in it is read as markup.

The reader of the output may go away (``| head``, a closed terminal), or the disk that takes it may be full.
The command then goes on, without output or with a log file in its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rigsl.home import do_without_home
from rigsl.interruption import interruptible
from rigsl.wording import CONTROL

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Errors of a pipe or terminal whose other end has gone away.
_READER_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENXIO)
#: Characters that are kept of what was perhaps not read.
_KEPT = 20_000


class LastingOutput:
    """A text stream whose writes never fail; after the first error of `stream` it is `lost`.

    Args:
        stream: such as sys.stdout; None (a program that was started without one) is lost from the start.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.lost = stream is None
        self.problem = ""  #: why it was lost; empty if its reader just went away
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._log: Path | None = None
        self._unread = ""  #: written since the last flush that succeeded
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Write `text`, to the log once there is one; drop it if the stream is lost and there is none."""
        with self._lock:
            if self._log is not None:
                self._append(text)
                return len(text)
            self._unread = (self._unread + text)[-_KEPT:]
            if not self.lost:
                self._attempt(lambda stream: stream.write(_encodable(text, stream)))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._lock:
            if not self.lost:
                self._attempt(lambda stream: stream.flush())
            if not self.lost:
                self._unread = ""

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        return not self.lost and self._is_terminal

    def continue_in(self, log: Path) -> bool:
        """If the stream is lost, write to the end of the file `log` from now on.

        The log begins with what was written last and perhaps not read, unless that was for a terminal, where
        it is a part of a picture.

        Returns:
            Whether the last line should be written again: the log begins now, and without it.
        """
        with self._lock:
            if not self.lost or self._log is not None:
                return False
            self._log, self.problem = log, ""
            if not self._is_terminal:
                self._append(self._unread)
            return self._is_terminal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, action: Callable[[TextIO], object]) -> None:
        assert self._stream is not None
        try:
            action(self._stream)
        except OSError as error:
            self.lost = True
            gone = (*_READER_GONE, errno.EIO) if self._is_terminal else _READER_GONE
            self.problem = "" if error.errno in gone else error.strerror or str(error)
            _discard_buffer(self._stream)
        except ValueError:  # the stream is closed
            self.lost = True

    def _append(self, text: str) -> None:
        assert self._log is not None
        with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)


def _encodable(text: str, stream: TextIO) -> str:
    """`text`, with escapes for what the encoding of `stream` lacks, and for bytes that are no text."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _discard_buffer(stream: TextIO) -> None:
    """Let the stream's buffer go nowhere: Python would try again at its end, and exit with code 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def lasting_output() -> Iterator[LastingOutput]:
    """Make standard output and standard error lasting inside this block; yields the standard output."""
    before = sys.stdout, sys.stderr
    output = LastingOutput(sys.stdout)
    sys.stdout, sys.stderr = output, LastingOutput(sys.stderr)
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def run_command_line(command: Callable[[], int]) -> int:
    """Run a command whose output cannot stop it; returns its exit code.

    SIGTERM and SIGHUP end it like Ctrl-C. A reader that goes away (``| head``) does not change the exit code.
    If the output could not be written for another reason, such as a full disk, a sentence says so on standard
    error, and the exit code is 2.
    """
    do_without_home()
    with lasting_output() as output:
        try:
            with interruptible():
                code = command()
        except SystemExit as end:  # of the parser, after --help, too
            if end.code:
                raise
            code = 0
        output.flush()
        if output.problem and code == 0:
            print(f"error: the output cannot be written ({output.problem})", file=sys.stderr)
            return 2
        return code


def make_console(*, soft_wrap: bool = True) -> Console:
    """A console on the standard output that prints texts as they are: ``[old]`` in a path is no markup.

    Nor does a terminal obey what is in a text: control characters are shown.
    """
    from rich.console import Console

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(text.translate(CONTROL), **options)

    output = sys.stdout if isinstance(sys.stdout, LastingOutput) else LastingOutput(sys.stdout)
    return PlainConsole(
        file=output,  # type: ignore[arg-type]
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=soft_wrap,
    )
