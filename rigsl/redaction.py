"""Passwords in addresses and messages: one function takes them out of all that is shown or written."""

from __future__ import annotations

import re
import sys
import threading
import traceback
from types import TracebackType

#: ``scheme://user:password@``. A password may have signs that an address must not have: SQLAlchemy takes all
#: up to the "@". A port and a path before an "@" are none: ``http://host:5000/a@b``.
_CREDENTIALS = re.compile(
    r"(?<![\w+.-])(?!https?://[^\s/?#:@]*:\d+[/?#])"
    r"(?P<start>[A-Za-z][\w+.-]*:/{1,2}(?!/))(?P<user>[^\s/?#:@]*):(?:[^\s/?#]*|[^\s@]*)@"
)
#: ``http://token@host``: a server takes a token in the place of the user.
_TOKEN = re.compile(r"(?P<start>\bhttps?://)[^\s/?#:@]+@")
#: ``user:password@host`` where the scheme is forgotten.
_BARE = re.compile(r"(?P<start>(?<![^\s'\"=(]))(?P<user>[^\s/?#:@'\"]+):(?!/)[^\s@]+@(?=[\w\[])")
_NAME = r"[\w.-]*(?:password|passwd|pwd|passphrase|secret|token|api_?key|(?:access|secret|account)_?key)"
_END = r"(?:(?!%3B|%26)[^\s&;,'\")}\]])*"
#: What is secret by its name only among the options of an address, such as of one that is signed.
_OPTION_NAME = r"[\w.-]*(?:\bpass|\bsig|signature|\bauth|credentials?)"
#: A password among the options of an address: ``?password=...&``.
_OPTION = re.compile(
    rf"(?P<sign>[?&])(?:{_NAME}|{_OPTION_NAME})=(?:(?!%26)[^\s&'\")])*(?P<more>&?)", re.IGNORECASE
)
#: One in a connection string, such as libpq's and ODBC's: ``PWD=...;``, ``password='...'``.
_ASSIGNED = re.compile(
    rf"(?P<name>(?<![\w.-]){_NAME}\s*(?:=|%3D))(?:'[^']*'|\"[^\"]*\"|{_END})", re.IGNORECASE
)
#: One in a dict: ``'password': '...'``.
_ENTRY = re.compile(rf"(?P<name>['\"]{_NAME}['\"]\s*:\s*)(?P<quote>['\"]).*?(?P=quote)", re.IGNORECASE)
_HEADER = re.compile(r"\b(?P<name>Basic|Bearer)\s+[\w+/=.~-]{6,}")


def redacted(text: str) -> str:
    """`text` without the passwords in it; an address stays one, from which only the password is missing.

    So an address can be stored: libpq takes the password from PGPASSWORD or ~/.pgpass. MLflow takes user and
    password from its environment variables, but only for an address without a user: of http, that goes, too.
    """
    text = _CREDENTIALS.sub(_without_password, text)
    text = _TOKEN.sub(r"\g<start>", text)
    text = _BARE.sub(_without_password, text)
    text = _OPTION.sub(lambda match: match["sign"] if match["more"] else "", text)
    text = _ENTRY.sub(r"\g<name>\g<quote>***\g<quote>", text)
    text = _ASSIGNED.sub(r"\g<name>***", text)
    return _HEADER.sub(r"\g<name> ***", text)


def _without_password(match: re.Match[str]) -> str:
    keeps_user = match["user"] and not match["start"].startswith("http")
    return f"{match['start']}{match['user']}@" if keeps_user else match["start"]


def redact_tracebacks() -> None:
    """Print the tracebacks of this process without passwords: errors of libraries name whole addresses."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

    def show_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            show(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook, threading.excepthook = show, show_thread
