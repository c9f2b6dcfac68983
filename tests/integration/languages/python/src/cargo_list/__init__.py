"""Lists cargo."""

import sys


def main():
    """Write the cargo."""
    sys.stdout.write("tea\n")
