"""`python -m rigsl predict --csv`: from a transcript to emotions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.cli.arguments import corpus_and_device
from rigsl.config import MODALITIES
from rigsl.errors import UserError

if TYPE_CHECKING:  # torch, pandas and rich are imported when the command runs
    import pandas as pd

    from rigsl.data.corpus import Corpus
    from rigsl.inference.transcript import Conversation
    from rigsl.model.rigsl import RIGSL

_MADE = "ld"  #: the modalities that a transcript holds


def run_transcript(options: argparse.Namespace) -> int:
    """Print every utterance with its emotion; write `--out` if given, a row for every row of `--csv`.

    Raises:
        UserError: the transcript, the checkpoint or the encoder is not what it should be.
    """
    from rigsl.inference.predictions import write_table
    from rigsl.inference.transcript import read_transcript
    from rigsl.training.checkpoint import load_checkpoint

    if options.features == "official":
        raise UserError("--csv goes with the open features; leave out --features official")
    conversation = read_transcript(options.csv)
    model = load_checkpoint(options.checkpoint)
    options.features = "open"
    corpus, device = corpus_and_device(options)
    _check_model(model, options.checkpoint, corpus)
    _check_speakers(model, conversation, options.csv)
    table = predicted_emotions(model, conversation, corpus, encoder=options.encoder, device=device)
    _show(table)
    if "d" in model.config.modals and conversation.without_times:
        print(
            f"note: {conversation.without_times} of {len(conversation.places)} utterances have no times; "
            "what delivery needs of them is taken as in the mean of training"
        )
    if options.out is not None:
        write_table(options.out, table)
        print(f"{len(table)} predictions in {options.out}")
    return 0


def predicted_emotions(
    model: RIGSL,
    conversation: Conversation,
    corpus: Corpus,
    *,
    encoder: str | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """A row for every row of the file: dialogue, utterance, speaker, text, predicted, p(class) of each.

    Args:
        corpus: the open corpus whose features the model reads; the transcript's are made like them.
        encoder: where the corpus's encoder is, if not under the name that the corpus gives.

    Raises:
        UserError: the features cannot be made.
    """
    import pandas as pd

    from rigsl.data.open.open_features import features_like
    from rigsl.data.unlabelled import unlabelled
    from rigsl.inference.predictions import prediction_columns
    from rigsl.training.evaluation import predict

    said = conversation.transcript
    features = features_like(corpus, said, model.config.modals, encoder, device)
    read = unlabelled("transcript", model.schema, features, said.speakers, said.offsets, said.dialogue_ids)
    lengths = np.diff(said.offsets)
    table = pd.DataFrame(
        {
            "dialogue": np.repeat(np.array(said.dialogue_ids, dtype=object), lengths),
            "utterance": np.arange(len(said.utterances)) - np.repeat(said.offsets[:-1], lengths),
            "speaker": conversation.speakers,
            "text": said.utterances,
        }
        | prediction_columns(predict(model, read, device=device), model.schema.classes)
    )
    return table.iloc[conversation.places].reset_index(drop=True)


def _check_model(model: RIGSL, checkpoint: Path, corpus: Corpus) -> None:
    """Whether the model reads features that are made from a transcript."""
    advice = "train one with python -m rigsl train --features open"
    if other := [MODALITIES[letter] for letter in model.config.modals if letter not in _MADE]:
        raise UserError(
            f"{checkpoint}: the model reads {' and '.join(other)} features, which no transcript holds; "
            f"{advice}"
        )
    ours, theirs = model.schema, corpus.schema
    for letter in model.config.modals:
        if ours.widths[letter] != theirs.widths.get(letter) or (
            letter == "l" and ours.text_views != theirs.text_views
        ):
            raise UserError(
                f"{checkpoint}: the model reads other {MODALITIES[letter]} features than those of corpus "
                f"{corpus.name}, which are made from a transcript; {advice}"
            )


def _check_speakers(model: RIGSL, conversation: Conversation, path: Path) -> None:
    said = conversation.transcript
    count = np.maximum.reduceat(said.speakers, said.offsets[:-1]) + 1
    if count.max() > model.schema.n_speakers:
        worst = int(count.argmax())
        raise UserError(
            f"{path}: dialogue '{said.dialogue_ids[worst]}' has {count[worst]} speakers, and the model knows "
            f"{model.schema.n_speakers}; cut it into dialogues of fewer speakers"
        )


def _show(table: pd.DataFrame) -> None:
    """The utterances, one dialogue below the other, with the probability of what was predicted."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table("dialogue", "", "speaker", "text", "emotion", "p")
    dialogue = None
    for row in table.to_dict("records"):
        if new := row["dialogue"] != dialogue:
            shown.add_section()
        dialogue, emotion = row["dialogue"], row["predicted"]
        cells = (dialogue if new else "", str(row["utterance"] + 1), row["speaker"], row["text"], emotion)
        shown.add_row(*map(Text, cells), f"{row[f'p({emotion})']:.2f}")
    Console(highlight=False).print(shown)
