"""Modality "d", delivery: features of how an utterance was spoken, from a transcript's times and typography.

No label is read. The features of an utterance may depend on its whole dialogue (RIGSL is bidirectional), and
on other dialogues only through the mean and standard deviation of the training split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from rigsl.data.corpus import SPLITS
from rigsl.data.open.meld import Transcript
from rigsl.data.scaling import mean_and_std, standardise

LONG_GAP = 30.0  #: seconds; a longer gap or duration means a wrong time or a cut between scenes

_APOSTROPHES = {0x2018: "'", 0x2019: "'"}  # single quotation marks, which MELD uses as apostrophes
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

#: Patterns in the text as written; the feature is log(1 + number of matches).
_MARKS = {
    "exclamation_marks": r"!",
    "question_marks": r"\?",
    "repeated_marks": r"[!?]{2,}",
    "ellipses": r"…|\.{2,}",
    "commas": r",",
    "dashes": r"\u2014|\u2013|--+| - |-$",
    "ends_trailing_off": r"(?:…|\.{2,})\W*$",
    "elongated_words": r"(?i)([a-z])\1\1",
    "broken_words": r"\b\w{1,3}-(?=\w)",  # "w-what", "no-no"
    "shouted_words": r"\b[A-Z]{2,}\b",
}
#: Patterns of lower-case words; the feature is their share of the words of the utterance.
_WORDS = {
    "interjections": r"a+h+|a+w+|o+h+|o+|w+o+w+|he+y+|yay|woo+|who+a+|u+gh|e+w+|ouch|ow|(?:ha)+h?|"
    r"god|gosh|damn|jeez",
    "hesitations": r"u+h+|u+m+|er+m*|hm+|mm+|well|like|anyway|y'know",
    "assent": r"yeah|yes|yep|yup|okay|ok|right|sure|fine|absolutely|exactly|totally",
    "negation": r"no+|not|never|none|nothing|nobody|nope|\w+n't|cannot",
    "first_person": r"i|me|my|mine|myself|i'\w+|we|us|our|ours|we'\w+",
    "second_person": r"you|your|yours|yourself|you'\w+|ya",
    "wh_words": r"what|why|who|where|when|how|which|what'\w+|who'\w+|how'\w+|where'\w+",
    "courtesies": r"please|sorry|thanks|thank|hi+|hello|bye|welcome|excuse|congratulations",
    "intensifiers": r"so|very|really|too|just|all|ever|always|totally|completely",
}


def delivery_features(transcript: Transcript) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Standardised delivery features [U, D], float32, and name -> [mean, std] in the training split.

    The names are in the order of the columns.
    """
    columns = delivery_columns(transcript)
    scaling = train_scaling(columns, transcript)
    return standardised(columns, scaling), scaling


def train_scaling(columns: Mapping[str, np.ndarray], transcript: Transcript) -> dict[str, list[float]]:
    """Name -> [mean, std] of the known values of each column [U] in the training split."""
    train = np.repeat(transcript.splits == SPLITS.index("train"), np.diff(transcript.offsets))
    mean, std = mean_and_std(np.stack(list(columns.values()), axis=1)[train])
    return {name: [float(m), float(s)] for name, m, s in zip(columns, mean, std, strict=True)}


def delivery_columns(transcript: Transcript) -> dict[str, np.ndarray]:
    """The features before standardisation, name -> [U]; NaN where a time that they need is not known."""
    return _timing(transcript) | _position(transcript) | _typography(transcript)


def standardised(columns: Mapping[str, np.ndarray], scaling: Mapping[str, Sequence[float]]) -> np.ndarray:
    """(column - mean) / std, clipped, [U, D], float32; an unknown value becomes 0, the mean."""
    mean, std = np.array([scaling[name] for name in columns], dtype=np.float64).T
    return standardise(np.stack(list(columns.values()), axis=1), mean, std)


def _signed_log(values: np.ndarray) -> np.ndarray:
    signed: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return signed


def _timing(transcript: Transcript) -> dict[str, np.ndarray]:
    """Durations, rates and gaps, all on log scales: some times are minutes off or in the wrong order.

    Where a time is NaN, so are the features that need it.
    """
    start, end, offsets = transcript.start, transcript.end, transcript.offsets
    first, last = _edges(offsets)
    duration = np.clip(end - start, 0.05, LONG_GAP)
    before = np.where(first, 0.0, start - np.roll(end, 1))
    after = np.where(last, 0.0, np.roll(start, -1) - end)
    plausible = np.abs(before) <= LONG_GAP
    words = np.array([len(_words(text)) for text in transcript.utterances], dtype=np.float64)
    chars = np.array([len(text) for text in transcript.utterances], dtype=np.float64)
    rate = np.log((words + 0.5) / duration)
    return {
        "log_duration": np.log(duration),
        "log_words": np.log1p(words),
        "log_characters": np.log1p(chars),
        "log_words_per_second": rate,
        "duration_in_dialogue": _less_dialogue_mean(np.log(duration), offsets),
        "rate_in_dialogue": _less_dialogue_mean(rate, offsets),
        "pause_before": _where_known(before, _signed_log(np.where(plausible, before, 0.0))),
        "pause_after": _where_known(after, _signed_log(np.where(np.abs(after) <= LONG_GAP, after, 0.0))),
        "overlap_before": _where_known(before, (before < 0.0) & plausible),
        "no_gap_before": _where_known(before, (np.abs(before) < 0.01) & ~first),
        "gap_unbelievable": _where_known(before, ~plausible),
    }


def _where_known(gap: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` as float64, NaN where `gap` is NaN."""
    return np.where(np.isnan(gap), np.nan, values)


def _position(transcript: Transcript) -> dict[str, np.ndarray]:
    """The position of the utterance in its dialogue, and who speaks before and after it."""
    offsets, speakers = transcript.offsets, transcript.speakers
    lengths = np.diff(offsets)
    first, last = _edges(offsets)
    size = np.repeat(lengths, lengths)
    position = np.arange(len(size)) - np.repeat(offsets[:-1], lengths)
    since, so_far, turns = (np.empty(len(size)) for _ in range(3))
    for begin, stop in pairwise(offsets):
        last_turn: dict[int, int] = {}
        for row in range(begin, stop):
            speaker = int(speakers[row])
            since[row] = row - last_turn[speaker] if speaker in last_turn else 0
            last_turn[speaker] = row
            so_far[row] = len(last_turn)
        turns[begin:stop] = np.bincount(speakers[begin:stop])[speakers[begin:stop]]
    return {
        "log_position": np.log1p(position),
        "relative_position": position / np.maximum(size - 1, 1),
        "log_dialogue_length": np.log(size),
        "is_first": first,
        "is_last": last,
        "same_speaker_before": (speakers == np.roll(speakers, 1)) & ~first,
        "same_speaker_after": (speakers == np.roll(speakers, -1)) & ~last,
        "speaker_is_new": since == 0,
        "log_turns_since_spoke": np.log1p(since),
        "speakers_so_far": so_far,
        "share_of_turns": turns / size,
    }


def _typography(transcript: Transcript) -> dict[str, np.ndarray]:
    """Punctuation, capitals, and function words that carry tone."""
    texts = [text.translate(_APOSTROPHES) for text in transcript.utterances]
    words = [_words(text) for text in texts]
    marks = {name: [np.log1p(len(re.findall(p, t))) for t in texts] for name, p in _MARKS.items()}
    shares = {name: [_share(re.compile(pattern), w) for w in words] for name, pattern in _WORDS.items()}
    capitals = [sum(char.isupper() for char in t) / max(sum(char.isalpha() for char in t), 1) for t in texts]
    others = {
        "share_of_capitals": capitals,
        "log_word_length": [np.log1p(np.mean([len(word) for word in w]) if w else 0.0) for w in words],
        "repeated_words": [np.log1p(sum(a == b for a, b in pairwise(w))) for w in words],
    }
    columns: Mapping[str, list[float]] = marks | shares | others
    return {name: np.array(column, dtype=np.float64) for name, column in columns.items()}


def _words(text: str) -> list[str]:
    """The words of `text` in lower case, with straight apostrophes."""
    return _WORD.findall(text.lower().translate(_APOSTROPHES))


def _share(pattern: re.Pattern[str], words: list[str]) -> float:
    return sum(pattern.fullmatch(word) is not None for word in words) / max(len(words), 1)


def _edges(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether an utterance is the first of its dialogue, and whether it is the last one; bool [U] each."""
    first, last = (np.zeros(int(offsets[-1]), dtype=bool) for _ in range(2))
    first[offsets[:-1]] = True
    last[offsets[1:] - 1] = True
    return first, last


def _less_dialogue_mean(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`values` minus the mean of the known values in the dialogue."""
    sums = np.add.reduceat(np.nan_to_num(values), offsets[:-1])
    counts = np.add.reduceat(~np.isnan(values), offsets[:-1], dtype=np.int64)
    return values - np.repeat(sums / np.maximum(counts, 1), np.diff(offsets))
