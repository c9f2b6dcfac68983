"""First package configurations from what registries and other distributions know of a project."""
