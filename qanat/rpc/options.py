"""How Qanat's gRPC connections are set up, the same on both ends."""

from __future__ import annotations

from qanat import limits

DELIVER = "/qanat.v1.Delivery/Deliver"
PROTOCOL = 1  # version of the wire contract, in every hello

# A collector that has nothing to say sends an empty ack so often, and one that a sender hears nothing from for so many
# beats in a row is deaf: stopped, hung, or behind a cable that is pulled. Pings of gRPC are no replacement: they are not
# sent while another one is under way, or a write is stuck (grpc/grpc#14717; 1.85 did not notice a stopped peer in a minute).
HEARTBEAT_S = 2.0
SILENT_BEATS_MAX = 5

# What is left to pings: a collector's connections to hosts that are gone.
KEEPALIVE_MS = 5_000
KEEPALIVE_TIMEOUT_MS = 5_000

# HTTP/2 frames of 16 KiB, the default, cost the receiver a sixth more CPU time than larger ones (2.0 against 1.7 s a GB in
# a bare stream of 512 KiB messages).
FRAME_BYTES_MAX = limits.MIB

# A message of the control plane: a plan says each statement as it was and as it will be, which makes 9 MB of 20,000 statements of
# 100 characters; the status of 20,000 nodes of one master has 20 MB.
CONTROL_BYTES_MAX = 64 * limits.MIB

_LENGTHS = ("grpc.max_send_message_length", "grpc.max_receive_message_length")

_COMMON: list[tuple[str, int | str]] = [
    ("grpc.http2.max_frame_size", FRAME_BYTES_MAX),
    ("grpc.max_send_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]


def channel_options() -> list[tuple[str, int | str]]:
    """For the connecting end. Reconnecting is the delivery core's business: one channel is one attempt, and a channel of
    its own, since gRPC would share one connection (and its backoff) among equal channels."""
    return [*_COMMON, ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


def server_options() -> list[tuple[str, int | str]]:
    """For the listening end. A port that another process serves is an error, not shared."""
    return [
        *_COMMON,
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    ]


def control_options() -> list[tuple[str, int | str]]:
    """For those who connect to a master: nodes and administrators."""
    options = [*_COMMON[1:], ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    return _of_control(options)


def peer_options() -> list[tuple[str, int | str]]:
    """Of the connections between masters."""
    return _of_control(channel_options())


def master_options() -> list[tuple[str, int | str]]:
    """Of a master's server."""
    return _of_control(server_options())


def _of_control(options: list[tuple[str, int | str]]) -> list[tuple[str, int | str]]:
    sized = [option for option in options if option[0] not in _LENGTHS]
    return [*sized, *((name, CONTROL_BYTES_MAX) for name in _LENGTHS)]
