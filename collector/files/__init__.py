"""Bucketed files on a local disk: what `collector/sinks/file.py` is made of."""
