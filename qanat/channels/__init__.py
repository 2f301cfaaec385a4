"""Channels: where events wait between the source of a logical node and its destinations. One file each, named as in flows.

`reader.py` and `streams.py` are what they share; `wal/` is the write-ahead log of `fileChannel`.
"""
