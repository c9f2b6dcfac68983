"""One image configuration over another: what ``include`` means, and a variant of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plimsoll.api.image import ImageConfiguration


def merge(base: ImageConfiguration, over: ImageConfiguration) -> ImageConfiguration:
    """What ``over`` says when it includes ``base``.

    Scalars, entrypoint, layering, compression, certificates and archs of the includer win where it
    sets them; maps are joined key by key; lists are the included one and then the includer's.
    ``vcs-url`` is never taken over.
    """
    contents = {
        name: [*getattr(base.contents, name), *getattr(over.contents, name)]
        for name in type(over.contents).model_fields
        if name != "baseimage"
    }
    accounts = over.accounts.model_copy(
        update={
            "run_as": over.accounts.run_as or base.accounts.run_as,
            "users": [*base.accounts.users, *over.accounts.users],
            "groups": [*base.accounts.groups, *over.accounts.groups],
        }
    )
    update: dict[str, Any] = {
        "include": "",
        "contents": over.contents.model_copy(
            update={**contents, "baseimage": over.contents.baseimage or base.contents.baseimage}
        ),
        "accounts": accounts,
        "environment": {**base.environment, **over.environment},
        "annotations": {**base.annotations, **over.annotations},
        "paths": [*base.paths, *over.paths],
        "volumes": [*base.volumes, *over.volumes],
    }
    for name in (
        "entrypoint",
        "cmd",
        "healthcheck",
        "stop_signal",
        "work_dir",
        "archs",
        "layering",
        "certificates",
        "compression",
    ):
        if name not in over.model_fields_set or not getattr(over, name):
            update[name] = getattr(base, name)
    return over.model_copy(update=update)
