"""The control plane: what every node should run, told from any master."""
