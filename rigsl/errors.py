"""The exception for a user's mistake, and how messages of other errors are quoted in it."""

from __future__ import annotations

from rigsl.redaction import redacted


class UserError(ValueError):
    """A mistake that the user can correct: one sentence that says what is wrong, where, and what to do.

    Command lines print it without a traceback and exit with code 2. It has no password, whatever it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redacted(message))


def first_line(error: BaseException, default: str | None = None, *, length: int | None = None) -> str:
    """The first line of an error's message without passwords, cut at `length` characters.

    An error without a message gives `default`, or the name of its type where no default is given.
    """
    lines = redacted(str(error)).strip().splitlines()
    text = lines[0] if lines else default or type(error).__name__
    return text[:length]
