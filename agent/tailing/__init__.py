"""The machinery of the `tail` source: which files there are, which incarnation each is, and reading them in order."""
