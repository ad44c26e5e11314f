"""Tables and features -> a corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.folds import IN_SAMPLE
from rigsl.data.open.cross_fitted import keep_encoders
from rigsl.data.open.emotions import LABELS_SEEN
from rigsl.data.open.meld import Transcript, transcript_of
from rigsl.data.open.open_features import corpus_of
from rigsl.data.open.sentence_encoder import DEFAULT_ENCODER, encoder_folder
from rigsl.data.open.settings import FineTuning
from rigsl.data.own.columns import check_meanings
from rigsl.data.own.features.modalities import FEATURES, MISSING, make_modality
from rigsl.data.own.features.rows import FeatureRows
from rigsl.data.own.labels import check_learnable, read_labels
from rigsl.data.own.provenance import Origin, describe_origin
from rigsl.data.own.reading.tables import Table
from rigsl.data.own.splits import find_splits
from rigsl.data.own.texts import features_of_texts
from rigsl.data.own.utterances import Utterances, read_utterances
from rigsl.errors import UserError
from rigsl.files import check_writable
from rigsl.modalities import TEXT, modality_key, modality_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DELIVERY = modality_key("delivery")


@dataclass(frozen=True)
class CorpusOptions:
    """How a corpus is built.

    Raises:
        UserError: a value is not possible; the sentence names it.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)  #: meaning -> column, where it has no usual name
    encoder: str | None = DEFAULT_ENCODER  #: of the sentence vectors; None: no features of the text
    device: str = "cpu"  #: of the encoder
    missing: str | None = None  #: what stands for features that an utterance lacks; None: refuse them
    seed: int = 0  #: of splits that are drawn
    labels_seen: Sequence[str] = ()  #: splits whose labels the features that are given have learned from
    fine_tuning: FineTuning | None = None  #: of the encoder, for emotions; None: the encoder as it is
    encoders: Path | None = None  #: file of the fine-tuned encoders to write; None: they are not kept
    processes: int = 1  #: encoders that are fine-tuned at the same time; it changes no number

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"the name {self.name!r}: is not 1 to 64 letters, digits, '.', '_' and '-'; choose another "
                "one"
            )
        check_meanings(self.columns)
        if self.missing is not None and self.missing not in MISSING:
            raise UserError(f"missing {self.missing!r}: is not one of {', '.join(MISSING)}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed {self.seed}: is not 0 to {2**32 - 1}")
        if self.fine_tuning is not None and self.encoder is None:
            raise UserError(
                "fine-tuning: learns from the texts, and without an encoder nothing reads them; leave out "
                "--encoder none, or --finetune"
            )
        if self.fine_tuning is not None and self.encoders is not None:
            check_writable(self.encoders)
        for split in self.labels_seen:
            if split not in SPLITS:
                raise UserError(f"labels seen {split!r}: is not a split; the splits are {', '.join(SPLITS)}")


def build(
    tables: Sequence[Table],
    features: Mapping[str, FeatureRows],
    options: CorpusOptions,
    origin: Origin,
    splits: Sequence[str] = (),
) -> Corpus:
    """The corpus of one or several tables and of features that are given.

    Its text vectors ("l") and delivery features ("d") are made as those of MELD-open, with emotions where
    they are fine-tuned. Features that are given have their names, those of audio and visual their letters
    "a" and "v".

    Args:
        tables: of the utterances.
        features: name of a modality -> its vectors.
        options: how it is built.
        origin: where it comes from, for the provenance.
        splits: of each table, if each is one.

    Raises:
        UserError: a table, a cell or a feature is not valid, or the encoder is not available.
    """
    keys = _modalities(features, options)
    folder = None if options.encoder is None else encoder_folder(options.encoder)
    utterances = read_utterances(tables, options.columns, splits=splits, needs_text=folder is not None)
    labels, classes = read_labels(utterances)
    found = find_splits(utterances, labels, options.seed)
    check_learnable(utterances, labels, found.of_row)
    transcript = _transcript(utterances, labels, found.of_row, classes)
    given = {
        keys[name]: make_modality(name, rows, utterances, found.of_row, options.missing)
        for name, rows in features.items()
    }
    provenance = describe_origin(origin, utterances)
    provenance |= {"splits": found.record, FEATURES: {key: made.record for key, made in given.items()}}
    if options.labels_seen:
        words = f"{IN_SAMPLE}: the maker of the features says so"
        provenance[LABELS_SEEN] = dict.fromkeys(options.labels_seen, words)
    arrays = {key: made.array for key, made in given.items()}
    fitted = None
    if folder is not None and options.encoder is not None:
        texts = features_of_texts(
            *(transcript, options.encoder, folder),
            fine_tuning=options.fine_tuning,
            file=options.encoders,
            device=options.device,
            processes=options.processes,
        )
        versions = provenance["versions"] | texts.provenance["versions"]
        provenance |= texts.provenance | {"versions": versions}
        arrays |= texts.arrays
        fitted = texts.fitted
    corpus = corpus_of(
        transcript, name=options.name, features=dict(sorted(arrays.items())), provenance=provenance
    )
    if fitted is not None and options.encoders is not None:
        corpus = keep_encoders(corpus, fitted, options.encoders)
    return corpus


def _modalities(features: Mapping[str, FeatureRows], options: CorpusOptions) -> dict[str, str]:
    """Name -> key of each modality that is given."""
    keys = {name: modality_key(name) for name in features}
    for name, key in keys.items():
        if list(keys.values()).count(key) > 1:
            raise UserError(f"features {name!r}: are given twice; give them once")
        if options.encoder is not None and key in (TEXT, _DELIVERY):
            raise UserError(
                f"features {name!r}: the encoder makes {modality_name(key)} features; leave them out, or use "
                "--encoder none"
            )
    if options.encoder is None and not keys:
        raise UserError(
            "--encoder none: there would be no features; give some with --features NAME=FILE, or use an "
            "encoder"
        )
    return keys


def _transcript(
    utterances: Utterances, labels: np.ndarray, splits: np.ndarray, classes: tuple[str, ...]
) -> Transcript:
    rows = utterances.rows.rename(columns={"text": "Utterance", "speaker": "Speaker"})
    return transcript_of(rows.assign(label=labels, split=splits), classes)
