"""OpenTelemetry's logs: from their messages to columns, and answers as the protocol has them."""
