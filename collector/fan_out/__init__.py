"""Fan-out in the collector: several sinks behind one commit record."""
