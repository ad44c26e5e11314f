"""Commands as a user types them, for tests."""

from __future__ import annotations


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
