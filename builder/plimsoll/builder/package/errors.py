"""What can be wrong with a package configuration."""

from __future__ import annotations

from plimsoll.errors import Error


class PackageConfigError(Error):
    """A package configuration, or a pipeline, that is not valid; the message names the place."""

    reason = "InvalidConfiguration"


class SubstitutionError(PackageConfigError):
    """A ``${{variable}}`` that cannot be replaced."""


class ConditionError(PackageConfigError):
    """An ``if`` that is no condition."""
