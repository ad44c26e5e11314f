"""A corpus of files."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path

from rigsl.data.corpus import Corpus
from rigsl.data.own.build import CorpusOptions, build
from rigsl.data.own.columns import USUAL_NAMES, normal
from rigsl.data.own.features.modalities import feature_rows
from rigsl.data.own.provenance import Origin, read_licence
from rigsl.data.own.reading.tables import Table, read_table
from rigsl.data.own.splits import splits_of_files
from rigsl.errors import UserError
from rigsl.files import sha256


def build_from_files(
    paths: Sequence[Path],
    options: CorpusOptions,
    *,
    features: Mapping[str, Path] | None = None,
    splits: Sequence[str] = (),
    encoding: str | None = None,
    licence: Path | None = None,
    command: str = "",
) -> Corpus:
    """The corpus of transcripts and of files of features.

    Args:
        paths: of the transcripts.
        options: how it is built.
        features: name of a modality -> its file or folder.
        splits: of each transcript; () where a column, the names of the files or a draw says it.
        encoding: of text files without a byte-order mark; None: UTF-8.
        licence: file with the text of the licence.
        command: that builds it, for the provenance.

    Raises:
        UserError: a file, a row or a feature is not valid, or the encoder is not available.
    """
    _check_encoding(encoding)
    if repeated := [path for path in paths if list(paths).count(path) > 1]:
        raise UserError(f"{repeated[0]}: is given twice; give each file once")
    text = "" if licence is None else read_licence(licence)
    tables = [read_table(path, encoding, text=options.columns.get("text")) for path in paths]
    if splits or not _has_split_column(tables, options):
        splits = splits_of_files(paths, splits)
    given = {name: feature_rows(name, path) for name, path in (features or {}).items()}
    hashes = {path.name: sha256(path) for path in paths}
    return build(tables, given, options, Origin(command, hashes, text), splits)


def _has_split_column(tables: Sequence[Table], options: CorpusOptions) -> bool:
    names = {normal(str(name)) for table in tables for name in table.cells.columns}
    return "split" in options.columns or bool(names & set(USUAL_NAMES["split"]))


def _check_encoding(encoding: str | None) -> None:
    try:
        codecs.lookup(encoding or "utf-8")
    except (LookupError, ValueError):
        raise UserError(
            f"--encoding {encoding}: is not an encoding; name one such as cp1252 or gb18030"
        ) from None
