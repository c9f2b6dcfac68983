"""Sphinx settings. ``make docs`` builds with warnings as errors."""

project = "Plimsoll"
copyright = "the Plimsoll authors"  # noqa: A001 - Sphinx' own name
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
html_theme = "furo"
# Dashes and quotes of commands must stay what they are.
smartquotes = False
exclude_patterns = ["_build", "changelog.d"]
nitpicky = True
