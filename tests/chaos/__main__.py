"""``python -m tests.chaos``: disturb small studies at random, and look what is lost.

A campaign can be made in pieces: what is done is in its folder, and a second call goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.events import KINDS
from tests.chaos.namespace import enter_mount_namespace

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign

#: Size of the studies' file system; a search refuses to start where less than half a gigabyte is free.
MEGABYTES = 640


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    result.add_argument("--seed", type=int, default=0, help="of the events (default: 0)")
    result.add_argument("--events", type=int, default=1000, help="so many in all (default: 1000)")
    result.add_argument("--folder", type=Path, default=Path("chaos"), help="of the campaign (default: chaos)")
    result.add_argument(
        "--kinds", type=_kinds, default=list(KINDS), metavar="NAME,...", help="of the events (default: all)"
    )
    result.add_argument("--study", type=int, metavar="N", help="only study N of the seed, again")
    return result


def _kinds(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in KINDS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(KINDS)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, print its table; returns 1 if anything was lost."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as name:
        folder = Path(name)
        root = os.geteuid() == 0
        mounts = enter_mount_namespace()  # before there are threads
        kept = options.folder.resolve()
        with _campaign(folder, mounts, root, kept, options.seed, options.kinds) as campaign:
            if options.study is not None:
                return int(bool(campaign.repeat(options.study).problems))
            done = campaign.run(options.events)
    from tests.chaos.table import table

    print(table(done))
    return int(any(study.problems for study in done))


@contextlib.contextmanager
def _campaign(
    folder: Path, mounts: bool, root: bool, kept: Path, seed: int, kinds: list[str]
) -> Iterator[Campaign]:
    from search.tracking.client import silence_mlflow
    from tests.chaos.campaign import Campaign
    from tests.chaos.life import Ground
    from tests.chaos.zygote import fork_server
    from tests.helpers.mlflow_contents import make_empty_database
    from tests.helpers.mlflow_server import MLflowServer
    from tests.helpers.postgres import postgres, programs
    from tests.helpers.small_disk import SmallDisk

    silence_mlflow()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    empty = make_empty_database(folder / "empty.db")
    with contextlib.ExitStack() as stack:
        stack.enter_context(fork_server(folder))
        (folder / "mlflow").mkdir()
        server = MLflowServer(folder / "mlflow")
        shutil.copy(empty, server.database)
        stack.callback(server.end)
        # In a namespace of a user who is no root, all are root, and PostgreSQL refuses that.
        database = None
        if programs() is not None and (root or not mounts):
            database = stack.enter_context(postgres())
        disk = SmallDisk(folder / "home" / "runs", MEGABYTES) if mounts else None
        if disk is not None and disk.mount():
            stack.callback(disk.end)
        else:
            disk = None
        ground = Ground(folder, disk, server, database)
        stack.callback(ground.end_nodes)
        yield Campaign(ground, kept, seed, lambda line: print(line, flush=True), empty, kinds)


if __name__ == "__main__":
    sys.exit(main())
