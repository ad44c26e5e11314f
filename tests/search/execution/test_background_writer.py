"""What is written in the background: in order, nothing lost, no failure kept quiet."""

import threading

import pytest

from search.execution.background_writer import Saver


def test_the_newest_of_a_name_takes_the_place_of_one_that_has_not_begun() -> None:
    saver, written, go = Saver(), [], threading.Event()
    saver.submit("first", go.wait)
    for number in range(3):
        saver.submit("state", lambda number=number: written.append(number))
    saver.submit("model", lambda: written.append("model"))
    assert saver.busy("state")
    assert written == []
    go.set()
    saver.wait()
    assert written == [2, "model"]
    assert not saver.busy("state")


def test_a_failed_writing_is_told_by_the_next_call() -> None:
    def fail() -> None:
        raise OSError("no space left on device")

    saver = Saver()
    saver.submit("state", fail)
    with pytest.raises(OSError, match="no space left"):
        saver.wait()
    saver.submit("state", fail)
    while saver.busy("state"):
        pass
    with pytest.raises(OSError, match="no space left"):
        saver.submit("model", lambda: None)
    saver.submit("state", fail)
    saver.settle()  # nobody wants to hear of it
    saver.wait()
