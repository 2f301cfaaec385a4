"""Qanat: events from thousands of hosts into storage, in order and exactly once.

This package is what the agent, the collector and the master share, and all that a plug-in may import.
It imports none of the three programs.
"""

__version__ = "0.1.0"
