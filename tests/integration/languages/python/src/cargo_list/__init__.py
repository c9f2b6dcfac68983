"""Lists cargo."""


def main():
    """Print the cargo."""
    print("tea")
