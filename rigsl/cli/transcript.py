"""`python -m rigsl predict --csv`: the emotions of a transcript."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rigsl.cli.arguments import corpus_and_device, pairs
from rigsl.console import make_console
from rigsl.errors import UserError
from rigsl.modalities import FROM_TRANSCRIPT, TEXT, modality_name, modality_names, modals_text
from rigsl.shell import dataset_option, option, pasteable, program
from rigsl.wording import counted

if TYPE_CHECKING:  # torch, pandas and rich are imported when the command runs
    import pandas as pd

    from rigsl.data.corpus import Corpus
    from rigsl.inference.average import Average
    from rigsl.inference.transcript import Conversation
    from rigsl.model.rigsl import RIGSL


def run_transcript(options: argparse.Namespace) -> int:
    """Print every utterance with its emotion; write `--out`, if given, with a row for every row of `--csv`.

    Raises:
        UserError: the transcript, the checkpoint or the encoder cannot be used.
    """
    from rigsl.data.open.fine_tuned import encoders_path
    from rigsl.data.source import open_path
    from rigsl.inference.average import load_model, modals_of
    from rigsl.inference.predictions import write_table
    from rigsl.inference.transcript import read_transcript

    if options.features == "official":
        raise UserError("--csv needs the open features; leave out --features official")
    conversation = read_transcript(options.csv, pairs("--column", options.column))
    model = load_model(options.checkpoint)
    options.features = "open"
    corpus, device = corpus_and_device(options, model.schema.widths)
    _check_model(model, options, corpus)
    _check_speakers(model, conversation, options.csv)
    encoders = encoders_path(open_path(options.dataset, options.data_dir))
    table = predicted_emotions(
        model, conversation, corpus, encoder=options.encoder, encoders=encoders, device=device
    )
    _show(table)
    if "d" in modals_of(model) and conversation.without_times:
        total = counted(len(conversation.utterance_of_row), "utterance")
        print(
            f"note: times are missing for {conversation.without_times} of {total}; delivery features that "
            "need them take their mean in training"
        )
    if options.out is not None:
        write_table(options.out, table)
        print(f"{counted(len(table), 'prediction')} in {options.out}")
    return 0


def predicted_emotions(
    model: RIGSL | Average,
    conversation: Conversation,
    corpus: Corpus,
    *,
    encoder: str | None = None,
    encoders: Path | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """A row for every row of the file: dialogue, utterance, speaker, text, predicted, p(class) of each.

    The features are made once, those that any member of an average reads.

    Args:
        corpus: the open corpus with the features that the model was trained on; those of the transcript are
            made in the same way.
        encoder: where the corpus's encoder is, if not under the name in its provenance.
        encoders: file of its fine-tuned encoders, for a corpus with emotions.

    Raises:
        UserError: the features cannot be made.
    """
    import pandas as pd

    from rigsl.data.open.transcript_features import features_like
    from rigsl.data.unlabelled import unlabelled
    from rigsl.inference.average import log_probabilities, modals_of
    from rigsl.inference.predictions import prediction_columns

    transcript = conversation.transcript
    features = features_like(corpus, transcript, modals_of(model), encoder, device, encoders=encoders)
    corpus_to_predict = unlabelled(
        "transcript", model.schema, features, transcript.speakers, transcript.offsets, transcript.dialogue_ids
    )
    log_prob = log_probabilities(model, corpus_to_predict, device)
    lengths = np.diff(transcript.offsets)
    table = pd.DataFrame(
        {
            "dialogue": np.repeat(np.array(transcript.dialogue_ids, dtype=object), lengths),
            "utterance": np.arange(len(transcript.utterances)) - np.repeat(transcript.offsets[:-1], lengths),
            "speaker": conversation.speakers,
            "text": transcript.utterances,
        }
        | prediction_columns(log_prob, model.schema.classes)
    )
    return table.iloc[conversation.utterance_of_row].reset_index(drop=True)


def _check_model(model: RIGSL | Average, options: argparse.Namespace, corpus: Corpus) -> None:
    """Check that the features of the model can be made from a transcript.

    Raises:
        UserError: they cannot.
    """
    from rigsl.inference.average import modals_of

    modals, checkpoint, advice = modals_of(model), options.checkpoint, _advice(options, corpus)
    if other := modality_names(key for key in modals if key not in FROM_TRANSCRIPT):
        raise UserError(
            f"{checkpoint}: the model reads {' and '.join(other)} features, which no transcript has; {advice}"
        )
    ours, theirs = model.schema, corpus.schema
    for key in modals:
        if ours.widths[key] != theirs.widths.get(key) or (
            key == TEXT and ours.text_views != theirs.text_views
        ):
            raise UserError(
                f"{checkpoint}: the model reads other {modality_name(key)} features than those of corpus "
                f"{corpus.name}, which are made from a transcript; {advice}"
            )


def _advice(options: argparse.Namespace, corpus: Corpus) -> str:
    """How to get a model for transcripts."""
    can = [key for key in corpus.features if key in FROM_TRANSCRIPT]
    if not can:
        return "predict a split of its corpus with --split"
    data = dataset_option(options.dataset) or option("features", "open")
    modals = None if len(can) == len(corpus.features) else modals_text(can)
    command = pasteable(
        *(program("python"), "-m", "rigsl", "train", "--out", Path("models/transcripts"), *data),
        *option("data-dir", options.data_dir),
        *option("modals", modals),
    )
    return f"train one with `{command}`"


def _check_speakers(model: RIGSL | Average, conversation: Conversation, path: Path) -> None:
    """Check that the model knows as many speakers as the dialogues have.

    Raises:
        UserError: a dialogue has more; the sentence names it.
    """
    transcript = conversation.transcript
    count = np.maximum.reduceat(transcript.speakers, transcript.offsets[:-1]) + 1
    if count.max() > model.schema.n_speakers:
        largest = int(count.argmax())
        name, speakers = transcript.dialogue_ids[largest], counted(int(count[largest]), "speaker")
        raise UserError(
            f"{path}: dialogue '{name}' has {speakers}, but the model knows only {model.schema.n_speakers}; "
            "cut it into dialogues with fewer speakers"
        )


def _show(table: pd.DataFrame) -> None:
    """Print the utterances, dialogue after dialogue, with the probability of the predicted emotion."""
    from rich.table import Table

    output = Table("dialogue", "", "speaker", "text", "emotion", "p")
    dialogue = None
    for row in table.to_dict("records"):
        if new := row["dialogue"] != dialogue:
            output.add_section()
        dialogue, emotion = row["dialogue"], row["predicted"]
        cells = (dialogue if new else "", str(row["utterance"] + 1), row["speaker"], row["text"], emotion)
        output.add_row(*cells, f"{row[f'p({emotion})']:.2f}")
    make_console(soft_wrap=False).print(output)
