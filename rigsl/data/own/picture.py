"""A picture of what is in a corpus: lengths, classes by split, speakers, and missing modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rigsl.data.corpus import SPLITS, Corpus
from rigsl.data.own.description import (
    class_shares,
    missing_rows,
    speakers_of_dialogues,
    split_of_rows,
)
from rigsl.errors import UserError
from rigsl.files import cannot_write, check_writable, replacing
from rigsl.modalities import modality_name
from rigsl.pictures import drawing

#: Colours of train, dev and test (Okabe-Ito, readable with colour blindness).
COLOURS = ("#0072B2", "#E69F00", "#009E73")
FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Check that a picture can be written to `path`.

    Raises:
        UserError: it cannot, or is of another format.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: is not a picture by its name; choose one of {', '.join(FORMATS)}")
    check_writable(path)


def draw_corpus(corpus: Corpus, path: Path) -> None:
    """Draw the picture to `path`, atomically.

    Raises:
        UserError: it cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with drawing(font__size=9, svg__hashsalt=corpus.name):
        height = max(6.4, 3.6 + 0.16 * len(corpus.classes))
        figure = Figure(figsize=(10.0, height), layout="constrained")
        (lengths, classes), (speakers, missing) = figure.subplots(2, 2)
        _draw_counts(lengths, corpus, corpus.lengths, "utterances of a dialogue")
        _draw_classes(classes, corpus)
        _draw_counts(speakers, corpus, speakers_of_dialogues(corpus), "speakers of a dialogue")
        _draw_missing(missing, corpus)
        figure.suptitle(corpus.name)
        handles = [mpl.patches.Patch(color=colour, label=split) for split, colour in _splits(corpus)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=130)
        except OSError as error:
            raise cannot_write(path, error) from None


def _splits(corpus: Corpus) -> list[tuple[str, str]]:
    """The splits that are not empty, with their colours."""
    pairs = zip(SPLITS, COLOURS, strict=True)
    return [(split, colour) for split, colour in pairs if corpus.dialogues(split).size]


def _draw_counts(panel: Any, corpus: Corpus, counts: np.ndarray, title: str) -> None:
    """A histogram of a number of every dialogue, the splits on top of each other."""
    from matplotlib.ticker import MaxNLocator

    high = int(counts.max())
    bins = np.arange(0.5, high + 1.5) if high <= 40 else np.linspace(0.5, high + 0.5, 41)
    parts = [counts[corpus.dialogues(split)] for split, _ in _splits(corpus)]
    panel.hist(parts, bins=bins, stacked=True, color=[colour for _, colour in _splits(corpus)])
    panel.set(title=title, ylabel="dialogues")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))


def _draw_classes(panel: Any, corpus: Corpus) -> None:
    """The share of every class in each split, the most frequent one of train at the top."""
    shares = class_shares(corpus)
    order = np.argsort(next(iter(shares.values())), kind="stable")
    width = 0.8 / max(len(shares), 1)
    for number, (split, colour) in enumerate((s, c) for s, c in _splits(corpus) if s in shares):
        panel.barh(np.arange(len(order)) - number * width, shares[split][order], width, color=colour)
    panel.set_yticks(range(len(order)), [corpus.classes[index] for index in order])
    panel.set(title="classes", xlabel="share of the utterances")


def _draw_missing(panel: Any, corpus: Corpus) -> None:
    """The share of utterances of each split without some of a modality."""
    missing, rows = missing_rows(corpus), split_of_rows(corpus)
    keys = list(corpus.features)
    width = 0.8 / max(len(_splits(corpus)), 1)
    for number, (split, colour) in enumerate(_splits(corpus)):
        chosen = rows == SPLITS.index(split)
        shares = [missing[key][chosen].mean() if key in missing else 0.0 for key in keys]
        panel.bar(np.arange(len(keys)) + number * width, shares, width, color=colour)
    panel.set_xticks(range(len(keys)), [modality_name(key) for key in keys])
    panel.set(title="utterances without a modality", ylabel="share of the utterances", ylim=(0, 1))
    if not missing:
        panel.text(0.5, 0.5, "none", ha="center", transform=panel.transAxes)
