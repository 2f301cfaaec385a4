"""The control plane's shared part: what is stored, what a node should run, and what administrators may ask."""
