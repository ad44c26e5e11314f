"""The background writer keeps the order of its jobs, loses none, and hides no failure."""

import threading

import pytest

from search.execution.background_writer import BackgroundWriter


def test_the_newest_job_of_a_name_replaces_one_that_has_not_started() -> None:
    writer, written, go = BackgroundWriter(), [], threading.Event()
    writer.submit("first", go.wait)
    for number in range(3):
        writer.submit("state", lambda number=number: written.append(number))
    writer.submit("model", lambda: written.append("model"))
    assert writer.busy("state")
    assert written == []
    go.set()
    writer.wait()
    assert written == [2, "model"]
    assert not writer.busy("state")


def test_the_next_call_raises_the_error_of_a_failed_job() -> None:
    def fail() -> None:
        raise OSError("no space left on device")

    writer = BackgroundWriter()
    writer.submit("state", fail)
    with pytest.raises(OSError, match="no space left"):
        writer.wait()
    writer.submit("state", fail)
    while writer.busy("state"):
        pass
    with pytest.raises(OSError, match="no space left"):
        writer.submit("model", lambda: None)
    writer.submit("state", fail)
    writer.settle()  # ignores the error
    writer.wait()
