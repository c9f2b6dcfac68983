"""Which packages share a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.version import Constraint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.image import Layering
    from plimsoll.apk.packageinfo import PackageInfo


def layer_groups(
    packages: Sequence[PackageInfo], layering: Layering | None, *, exact: bool = False
) -> list[list[int]]:
    """Package numbers per layer, largest layer first; in each, in install order.

    Args:
        packages: in install order.
        layering: how to split; one group where it says nothing.
        exact: put packages that name no origin into one group, as the reference does.
    """
    everything = list(range(len(packages)))
    if layering is None or not layering.strategy:
        return [everything]
    group_of = {number: _kind(packages[number], layering, exact=exact) for number in everything}
    _merge_replacing(packages, group_of)
    groups: dict[str, list[int]] = {}
    for number in everything:
        groups.setdefault(group_of[number], []).append(number)

    def order(members: list[int]) -> tuple[int, str]:
        return (
            -sum(packages[number].installed_size for number in members),
            max(packages[number].name for number in members),
        )

    ranked = sorted(groups.values(), key=order)
    if len(ranked) <= layering.budget:
        return ranked
    rest = sorted(number for members in ranked[layering.budget - 1 :] for number in members)
    return [*ranked[: layering.budget - 1], rest]


def _kind(package: PackageInfo, layering: Layering, *, exact: bool) -> str:
    if layering.strategy == "origin" and (package.origin or exact):
        return package.origin
    return package.name


def _merge_replacing(packages: Sequence[PackageInfo], group_of: dict[int, str]) -> None:
    """Put packages that replace files of each other into one group."""
    numbers = {package.name: number for number, package in enumerate(packages)}
    for number, package in enumerate(packages):
        for text in package.replaces:
            constraint = Constraint.read(text)
            other = numbers.get(constraint.name)
            if other is not None and not constraint.accepts(packages[other].version):
                other = None
            if other is None or group_of[other] == group_of[number]:
                continue
            keep, drop = sorted((group_of[other], group_of[number]))
            for member, group in group_of.items():
                if group == drop:
                    group_of[member] = keep
