"""The exactly-once protocol, without I/O, clock or randomness [pure].

`sender.py` is the agent's half: which collector, what to read, what to send, when to seek back.
`receiver.py` is the collector's half: it claims senders, accepts contiguous batches, commits, acknowledges.
`documents.py` is what both leave in the coordination store, and the rules for combining it.

A core is `handle(event) -> list[Command]`: the shell around it performs the commands in order and feeds back what came of
them. Time enters as events too, so a simulator can drive the same code through any schedule.
"""
