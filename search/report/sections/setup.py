"""What the numbers rest on: data, protocol, search, versions, seeds, and how to get them again."""

from __future__ import annotations

import shlex
from typing import Any

from rigsl.wording import counted, listed
from search.report.data import Material
from search.report.format import value_text
from search.report.html import (
    code,
    heading,
    note,
    pairs,
    section,
    table,
)
from search.run_folder import BEST, OFFICIAL
from search.space.budget import read_budget

PROTOCOL = (
    "validation: trained on train; epochs, pruning, configurations and finalists chosen on dev; test opened "
    "afterwards. The search and its workers get a corpus whose test labels are hidden."
)


def setup(m: Material) -> str:
    """The section."""
    return section(
        "setup",
        "Data, protocol, setup",
        _data(m),
        heading("Search"),
        pairs(_search(m)),
        heading("Openings of the test split") + _openings(m) if m.final.openings else "",
        heading("Environment"),
        pairs(_environment(m)),
        _again(m),
    )


def _data(m: Material) -> str:
    corpus: dict[str, Any] = dict(m.facts.get("corpus") or {})
    if not corpus:
        return pairs([("corpus", m.corpus), ("content", str(m.options["corpus"])[:12])])
    splits = corpus["splits"]
    rows = [("dialogues", *(str(splits[split]["dialogues"]) for split in splits))]
    rows += [("utterances", *(str(splits[split]["utterances"]) for split in splits))]
    support = {} if m.final.test is None else m.final.test.winner.support
    for i, name in enumerate(corpus["classes"]):
        counts = [str(splits[split]["labels"][i]) for split in ("train", "dev")]
        rows.append((name, *counts, str(support[name]) if name in support else ""))
    named = [("corpus", f"{corpus['name']}, content {corpus['hash'][:12]}"), ("features", corpus["features"])]
    return pairs([*named, ("protocol", PROTOCOL)]) + table(("", *splits), rows)


def _search(m: Material) -> list[tuple[str, str]]:
    options, space = m.options, m.space
    fixed = ", ".join(f"{name} = {value_text(value)}" for name, value in space.fixed.items())
    rows = [
        (
            "space",
            f"{counted(len(space.parameters), 'parameter')}, {counted(len(space.starts), 'start point')}, "
            f"content {space.content_hash}",
        ),
        ("fixed", fixed),
        (
            "sampler, scheduler",
            f"{options['sampler']}, {options['scheduler']}; {options['epochs']} epochs at most",
        ),
        ("budget", read_budget(options["budget"], "study.toml").describe()),
        ("seed of the search", f"{options['seed']}; every trial trains with it"),
    ]
    if m.final.finalists is not None:
        rows.append(("seeds of finalists", listed([str(seed) for seed in m.final.finalists.seeds])))
    if m.final.test is not None:
        rows.append(("seeds of the test", listed([str(seed) for seed in m.final.test.seeds])))
    if "start_from" in options:
        rows.append(("began with the trials of", str(options["start_from"]).rsplit("/", 1)[-1]))
    return rows


def _openings(m: Material) -> str:
    rows = [(opening.at.replace("T", " "), opening.protocol, opening.what) for opening in m.final.openings]
    warning = ""
    if m.again:
        warning = note(
            f"{m.again.capitalize()}: each look after the first one makes the number more optimistic."
        )
    return table(("when", "protocol", "what"), rows, words=(0, 1, 2)) + warning


def _environment(m: Material) -> list[tuple[str, str]]:
    if not m.sessions:
        return [("", "not recorded")]
    last: dict[str, Any] = dict(m.sessions[-1])
    machine = last["machine"]
    where = [machine["processor"], f"{last['cores']} cores", counted(last["workers"], "worker")]
    if machine.get("gpu"):
        where.append(f"{machine['gpu']}, {last['gpus_per_trial']:g} a trial")
    commits = listed(sorted({str(session["commit"]) for session in m.sessions}))
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    return [
        ("commit", commits),
        ("versions", versions),
        ("machine", ", ".join(where)),
        ("system", str(last["platform"])),
        ("runs", listed([str(session["started"]) for session in m.sessions], 4)),
    ]


def _again(m: Material) -> str:
    """Commands that give the numbers again."""
    name = shlex.quote(m.name)
    parts = []
    if (m.folder / BEST).is_dir():
        parts += [heading("Train the result again"), code(f"python run_search.py --rerun runs/{name}/{BEST}")]
    parts += [
        heading("Go on with the search"),
        code(f"python run_search.py --resume {name} --time-budget 30m"),
    ]
    official = m.folder / BEST / OFFICIAL
    if official.is_file():
        said = heading("The same configuration for the official train.py")
        parts += [said, code(official.read_text(encoding="utf-8").strip())]
    return "".join(parts)
