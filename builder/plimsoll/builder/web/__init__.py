"""Pages that commands show."""
