"""A user without a home folder, as in a container that runs under any user id."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def do_without_home() -> None:
    """Let libraries that keep files in the home folder work where there is none or it cannot be written.

    Ray cannot be imported by a user without one. Matplotlib keeps its cache in a temporary folder, and would
    say so in the middle of a command's output.
    """
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the user database
        home = Path(os.environ.setdefault("HOME", "/"))
    if not os.access(home, os.W_OK):
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
