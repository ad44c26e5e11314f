"""The precisions that a study computes in, checked on the devices that its trials run on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.precisions import unsuited
from search.resources.workers import Node
from search.space.restrict import without_values
from search.space.space import Space

#: The option with which a precision is taken all the same.
FORCE = "--force"


def precisions(space: Space) -> tuple[str, ...]:
    """The values of `precision` that trials of `space` can have."""
    if "precision" in space.parameters:
        return tuple(space.parameters["precision"].values)
    return (str(space.fixed.get("precision", RIGSLConfig().precision)),)


def checked_precisions(
    space: Space, device: str, nodes: Sequence[Node] | None, *, force: bool, resumed: bool = False
) -> tuple[Space, str]:
    """`space` without the precisions that `device` is not made for, and a remark on them for the plan.

    Args:
        space: of the study.
        device: of the trials, "cpu" or "cuda".
        nodes: of a cluster, with what was found on them; None: the trials run on this machine.
        force: keep such precisions; the remark says what they cost.
        resumed: the space is that of a study with trials, from which no value can be taken.

    Raises:
        UserError: no precision would be left.
    """
    names = precisions(space)
    reasons = _reasons(names, device, nodes)
    if not reasons:
        return space, "" if names == (RIGSLConfig().precision,) else " or ".join(names)
    described = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    if force:
        return space, f"{' or '.join(names)}, as {FORCE} says; {described}"
    left = [name for name in names if name not in reasons]
    if resumed or not left:
        where = "space.precision" if "precision" in space.parameters else "fixed"
        advice = "resume it on another machine" if resumed else "take 'fp32'"
        values = " or ".join(repr(name) for name in reasons)
        raise UserError(
            f"{space.path}: [{where}] precision = {values}: {'; '.join(reasons.values())}; {advice}, or give "
            f"{FORCE}"
        )
    dropped = " and ".join(reasons)
    why = f"without {dropped}: {'; '.join(reasons.values())}"
    return without_values(space, "precision", set(reasons), why), (
        f"{' or '.join(left)}, {why}; {FORCE} searches {dropped}, too"
    )


def _reasons(names: Collection[str], device: str, nodes: Sequence[Node] | None) -> Mapping[str, str]:
    """Precision -> why a device that runs trials is not made for it, of those that have a reason."""
    if nodes is None:
        found = {name: unsuited(device, name) for name in names}
        return {name: reason for name, reason in found.items() if reason}
    return {
        name: f"on node {node.name}, {node.unsuited[device, name]}"
        for node in reversed(nodes)
        if node.gpus or device == "cpu"
        for name in names
        if (device, name) in node.unsuited
    }
