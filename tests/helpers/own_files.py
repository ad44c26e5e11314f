"""A small corpus in files of its own: 20 dialogues of 4 utterances, 3 classes, 2 modalities."""

from __future__ import annotations

import numpy as np
import pandas as pd

DIALOGUES, TURNS, CLASSES = 20, 4, ("anger", "joy", "neutral")
_SAID = {"anger": "No, bribes!", "joy": "Oh, NOOO!!", "neutral": "Well, what?"}


def transcript(dialogues=DIALOGUES, turns=TURNS, classes=CLASSES):
    """A row for each utterance, with usual names of columns."""
    rows = [
        {
            "dialogue": f"d{dialogue}",
            "utterance_id": turn,
            "speaker": ("Ross", "Joey")[turn % 2],
            "text": _SAID.get(label, "you") + f" {dialogue}",
            "emotion": label,
        }
        for dialogue in range(dialogues)
        for turn in range(turns)
        for label in [classes[(dialogue + turn) % len(classes)]]
    ]
    return pd.DataFrame(rows)


def vectors(rows=DIALOGUES * TURNS, width=5, seed=0):
    """Numbers of no meaning, float32 [rows, width]."""
    return np.random.default_rng(seed).normal(3.0, 2.0, (rows, width)).astype(np.float32)


def write_npz(path, frame, values):
    """Features with the names of their utterances."""
    np.savez(
        path,
        features=values,
        dialogue=frame["dialogue"].to_numpy(str),
        utterance=frame["utterance_id"].to_numpy(),
    )
    return path


def write_files(folder):
    """``talks.csv``, ``audio.npz`` and ``visual.npy`` with its index; the transcript as a data frame."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = transcript()
    frame.to_csv(folder / "talks.csv", index=False)
    write_npz(folder / "audio.npz", frame, vectors())
    np.save(folder / "visual.npy", vectors(width=3, seed=1)[::-1])
    index = frame[["dialogue", "utterance_id"]].iloc[::-1]
    index.to_csv(folder / "visual.csv", index=False)
    return frame
