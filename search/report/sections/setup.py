"""What the numbers rest on: data, protocol, search, versions, seeds; and the commands that reproduce them."""

from __future__ import annotations

from typing import Any

from rigsl.wording import counted, listed
from search.report.commands import rerun_command, resume_command
from search.report.data import StudyData
from search.report.format import value_text
from search.report.html import code, heading, note, pairs, table
from search.run_folder import BEST, OFFICIAL, STUDY
from search.samplers.registry import priors_in_words
from search.space.budget import read_budget

DEV, HELD_OUT = "dev", "dev and a fold of train that trials leave out"
FOLDS = "held-out folds of train"
PROTOCOL = (
    "validation: trained on train; configurations, their epochs and pruning chosen on {searched}, finalists "
    "on {finals}; test opened afterwards. The search and its workers get a corpus whose test labels are "
    "hidden."
)
#: Characters of a content hash that are shown.
HASH_LENGTH = 12
#: Starts of the study that are listed.
STARTS = 4


def content(data: StudyData) -> str:
    """The section."""
    return "".join(
        [
            _data(data),
            heading("Search"),
            pairs(_search(data)),
            heading("Openings of the test split") + _openings(data) if data.final.openings else "",
            heading("Environment"),
            pairs(_environment(data)),
            _commands(data),
        ]
    )


def _data(data: StudyData) -> str:
    """The corpus: its content hash, and the utterances of every class in its splits."""
    corpus: dict[str, Any] = dict(data.facts.get("corpus") or {})
    if not corpus:
        return pairs([("corpus", f"{data.corpus}, content hash {str(data.options['corpus'])[:HASH_LENGTH]}")])
    splits = corpus["splits"]
    rows = [("dialogues", *(str(splits[split]["dialogues"]) for split in splits))]
    rows += [("utterances", *(str(splits[split]["utterances"]) for split in splits))]
    support = {} if data.final.test is None else data.final.test.winner.support
    for i, name in enumerate(corpus["classes"]):
        counts = [str(splits[split]["labels"][i]) for split in ("train", "dev")]
        rows.append((name, *counts, str(support[name]) if name in support else ""))
    finalists = data.final.finalists
    searched = HELD_OUT if data.options.get("validation_folds") else DEV
    finals = FOLDS if finalists is not None and finalists.folds else DEV
    description = [
        ("corpus", f"{corpus['name']}, content hash {corpus['hash'][:HASH_LENGTH]}"),
        ("features", corpus["features"]),
        ("protocol", PROTOCOL.format(searched=searched, finals=finals)),
    ]
    return pairs(description) + table(("", *splits), rows)


def _search(data: StudyData) -> list[tuple[str, str]]:
    options, space = data.options, data.space
    parameters, starts = (
        counted(len(space.parameters), "parameter"),
        counted(len(space.starts), "start point"),
    )
    fixed = ", ".join(f"{name} = {value_text(value)}" for name, value in space.fixed.items())
    believed = priors_in_words(options["sampler"], space)
    epochs = f"at most {counted(options['epochs'], 'epoch')} per trial"
    rows = [
        ("space", f"{parameters}, {starts}, content hash {space.content_hash}"),
        ("fixed", fixed),
        ("sampler, scheduler", f"{options['sampler']}, {options['scheduler']}; {epochs}"),
        *([("priors", believed)] if believed else []),
        ("budget", read_budget(options["budget"], STUDY).describe()),
        ("seed of the search", f"{options['seed']}; every trial trains with it"),
    ]
    if data.final.finalists is not None:
        rows.append(("seeds of finalists", listed([str(seed) for seed in data.final.finalists.seeds])))
    if data.final.test is not None:
        rows.append(("seeds of the test", listed([str(seed) for seed in data.final.test.seeds])))
    if "start_from" in options:
        rows.append(("warm start from", str(options["start_from"]).rsplit("/", 1)[-1]))
    return rows


def _openings(data: StudyData) -> str:
    rows = [(opening.at.replace("T", " "), opening.protocol, opening.what) for opening in data.final.openings]
    warning = ""
    if data.reopened:
        warning = note(
            f"{data.reopened.capitalize()}: each opening after the first one makes the score more optimistic."
        )
    return table(("when", "protocol", "what"), rows, words=(0, 1, 2)) + warning


def _environment(data: StudyData) -> list[tuple[str, str]]:
    if not data.sessions:
        return [("", "not recorded")]
    last: dict[str, Any] = dict(data.sessions[-1])
    machine = last["machine"]
    parts = [machine["processor"], counted(last["cores"], "core"), counted(last["workers"], "worker")]
    if machine.get("gpu"):
        parts.append(f"{machine['gpu']}, {last['gpus_per_trial']:g} per trial")
    commits = listed(sorted({str(session["commit"]) for session in data.sessions}))
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    return [
        ("commit", commits),
        ("versions", versions),
        ("machine", ", ".join(parts)),
        ("system", str(last["platform"])),
        ("started", listed([str(session["started"]) for session in data.sessions], STARTS)),
    ]


def _commands(data: StudyData) -> str:
    """The commands that reproduce the result or continue the study."""
    parts = []
    if (data.folder / BEST).is_dir():
        parts += [heading("Train the exported configuration again"), code(rerun_command(data))]
    if (resume := resume_command(data)) is not None:
        parts += [heading("Resume the search"), code(resume)]
    official = data.folder / BEST / OFFICIAL
    if official.is_file():
        title = heading("The same configuration for the official train.py")
        parts += [title, code(official.read_text(encoding="utf-8").strip())]
    return "".join(parts)
