"""Commands of the host, as sources run them: whether they may be, and how they end with the agent."""
