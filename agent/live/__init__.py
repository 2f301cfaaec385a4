"""What live sources share: listening, connections, datagrams, threads. A source itself is one file in `agent/sources`."""
