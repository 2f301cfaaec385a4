"""Partitions of Kafka as streams: the source `kafka`."""
