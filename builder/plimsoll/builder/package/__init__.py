"""Packages from declarative configurations: load, compile, run, emit."""
