"""Sphinx settings."""

project = "plimsoll"
copyright = "the Plimsoll authors"  # noqa: A001 - Sphinx' own name
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build", "changelog.d"]
