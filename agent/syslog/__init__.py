"""Syslog messages, a batch at a time: framing, RFC 5424, RFC 3164, and the attributes that they become."""
