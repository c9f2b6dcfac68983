"""Where new versions of a package are to be found."""

from __future__ import annotations

from typing import Literal

from plimsoll.api.scalars import Text
from plimsoll.builder.package.section import Section


class ReleaseMonitor(Section):
    """A project of release-monitoring.org."""

    identifier: Text
    """Number of the project."""

    strip_prefix: Text = ""
    """Left off versions."""

    strip_suffix: Text = ""
    """Left off versions."""

    version_filter_contains: Text = ""
    """Only versions that contain it count."""

    version_filter_prefix: Text = ""
    """Only versions that begin with it count."""


class _Tags(Section):
    strip_prefix: Text = ""
    """Left off tags."""

    strip_suffix: Text = ""
    """Left off tags."""

    tag_filter: Text = ""
    """Older name of ``tag-filter-prefix``."""

    tag_filter_prefix: Text = ""
    """Only tags that begin with it count."""

    tag_filter_contains: Text = ""
    """Only tags that contain it count."""


class GitHub(_Tags):
    """Releases or tags of a GitHub repository."""

    identifier: Text
    """``OWNER/REPOSITORY``."""

    use_tag: bool = False
    """Tags count, not releases."""


class Git(_Tags):
    """Tags of the repository of the first ``git-checkout``."""


class Oci(_Tags):
    """Tags of a repository in a registry."""

    identifier: Text
    """The repository."""


class VersionTransform(Section):
    """Makes a valid version of what upstream calls one."""

    match: Text
    """An RE2 expression."""

    replace: Text = ""
    """What each match becomes."""


class Schedule(Section):
    """How often to look."""

    reason: Text = ""
    """Why not always."""

    period: Literal["", "daily", "weekly", "monthly"] = ""
    """How often."""


class Update(Section):
    """Where new versions are to be found, and what to do with them."""

    enabled: bool = False
    """Whether to look at all."""

    exclude_reason: Text = ""
    """Why not."""

    manual: bool = False
    """A person makes the update."""

    require_sequential: bool = False
    """Updates are taken one after the other."""

    shared: bool = False
    """Packages that need this one are built again with it."""

    version_separator: Text = ""
    """What stands between the parts of upstream's versions; they become dots."""

    ignore_regex_patterns: list[Text] = []
    """Versions that match one of these do not count."""

    version_transform: list[VersionTransform] = []
    """Applied to upstream's versions in order."""

    enable_prerelease_tags: bool = False
    """Pre-releases count too."""

    schedule: Schedule | None = None
    """How often to look."""

    release_monitor: ReleaseMonitor | None = None
    """Look at release-monitoring.org."""

    github: GitHub | None = None
    """Look at GitHub."""

    git: Git | None = None
    """Look at tags."""

    oci: Oci | None = None
    """Look at a registry."""

    crane: Oci | None = None
    """Other name of ``oci``."""
