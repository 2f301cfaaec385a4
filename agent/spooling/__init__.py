"""Files that are dropped into a directory, or named, and don't change any more: read once, each to its end."""
