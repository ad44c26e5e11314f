"""The token that a Ray instance demands: its own one of a private instance, the user's one of a cluster.

Ray takes it from the environment (RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH), or from
``~/.ray/auth_token``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

_MODE, _TOKEN, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextlib.contextmanager
def own_token() -> Iterator[None]:
    """Have Ray's servers and workers that are started in this block demand a token of their own.

    They inherit it with the environment. Ray itself would keep one in the home folder, the same for every
    run, and fail where that cannot be written (_private/authentication/authentication_token_setup.py).
    """
    with _environment_kept():
        os.environ.pop(_PATH, None)
        os.environ |= {_MODE: "token", _TOKEN: secrets.token_hex(32)}
        _have_ray_read_it()
        yield


@contextlib.contextmanager
def users_token(address: str) -> Iterator[None]:
    """Have this process show the user's token to the cluster at `address` that is joined in this block.

    Without RAY_AUTH_MODE, Ray shows a token only to a cluster that it finds by ``auto``. `ray start` makes a
    cluster demand the token that it finds in the home folder.
    """
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )

    with _environment_kept():
        if address == "auto" and not os.environ.get("RAY_ADDRESS"):
            maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        yield


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (_MODE, _TOKEN, _PATH)}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _have_ray_read_it()


def _have_ray_read_it() -> None:
    """Ray has read the environment when it was imported, and the token when it was first used."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
