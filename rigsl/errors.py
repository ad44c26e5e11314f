"""The exception for a user's mistake, how command lines print it, and how it quotes other errors."""

from __future__ import annotations

from rigsl.redaction import redacted


class UserError(ValueError):
    """A mistake that the user can correct: one sentence that says what is wrong, where, and what to do.

    Command lines print it without a traceback and exit with code 2. It has no password, whatever it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


def error_line(error: UserError | OSError) -> str:
    """What a command line prints of an error that is not its own: ``error: ...``, in one line.

    An OSError comes from the user's machine: a full disk, a name that is too long, a missing permission.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return "error: " + "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def first_line(error: BaseException, default: str | None = None, *, length: int | None = None) -> str:
    """The first line of an error's message without passwords, cut at `length` characters.

    An error without a message gives `default`, or the name of its type where no default is given.
    """
    lines = redacted(str(error)).strip().splitlines()
    if len(lines) > 1 and lines[0].startswith("(raised as a result of"):  # of SQLAlchemy
        del lines[0]
    text = lines[0] if lines else default or type(error).__name__
    return text[:length]
