"""What a training predicts for the fold of train that it left out: out-of-fold predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rigsl.data.tensor_file import map_arrays, write_arrays
from rigsl.errors import UserError
from rigsl.training.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of the best epoch on dev for the utterances of the fold that was left out."""

    log_prob: NDArray[np.float32]  #: [U, classes]
    rows: NDArray[np.int64]  #: of these utterances in the corpus, ascending [U]
    weighted_f1: float


def write_held_out(path: Path, evaluation: Evaluation) -> None:
    """Write the predictions to one .safetensors file, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {"log_prob": evaluation.log_prob, "rows": evaluation.rows}
    write_arrays(path, arrays, {"weighted_f1": evaluation.scores.weighted_f1})


def read_held_out(path: Path) -> HeldOut:
    """The predictions in a file that `write_held_out` wrote.

    Raises:
        UserError: there are none, or they are damaged.
    """
    again = "remove it, and its training runs again"
    arrays, content = map_arrays(path, kind="file of held-out predictions", again=again)
    try:
        return HeldOut(arrays["log_prob"], arrays["rows"], float(content["weighted_f1"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: does not hold predictions of a fold; {again}") from None
