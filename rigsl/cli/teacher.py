"""The options of `train` that give it a teacher."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from rigsl.errors import UserError

if TYPE_CHECKING:
    from rigsl.data.corpus import Corpus
    from rigsl.training.teacher import Teacher

#: Option -> the field of the teacher that it overrides.
_OVERRIDES = {"teacher-weight": "weight", "teacher-temperature": "temperature"}


def teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group(
        "teacher", "held-out predictions of other models, which are learned beside the labels"
    )
    group.add_argument(
        "--teacher", type=Path, metavar="FILE", help="a file that rigsl.Teacher.save wrote (docs/model.md)"
    )
    group.add_argument(
        "--teacher-weight", type=float, metavar="W", help="of its part of the loss (default: the file's)"
    )
    group.add_argument(
        "--teacher-temperature", type=float, metavar="T", help="of its probabilities (default: the file's)"
    )


def teacher_of(options: argparse.Namespace, corpus: Corpus) -> Teacher | None:
    """The teacher that the options of `teacher_arguments` choose; None without --teacher.

    Raises:
        UserError: the file is damaged or for another corpus, or an option contradicts another one.
    """
    given = {name: getattr(options, name.replace("-", "_")) for name in _OVERRIDES}
    given = {name: value for name, value in given.items() if value is not None}
    path: Path | None = options.teacher
    if path is None:
        if given:
            raise UserError(f"--{next(iter(given))}: there is no teacher; name its file with --teacher FILE")
        return None
    from rigsl.training.teacher import Teacher

    teacher = Teacher.load(path)
    changes = {_OVERRIDES[name]: value for name, value in given.items()}
    try:
        teacher = dataclasses.replace(teacher, origin=teacher.origin or path.name, **changes)
        teacher.check(corpus)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return teacher
