"""Flume NG's Avro RPC: the framing, the handshake and the events of the source `avro`."""
