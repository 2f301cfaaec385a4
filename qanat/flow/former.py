"""Components of Flume OG that are called otherwise here, and what to write instead of those that are no more. [pure]"""

from __future__ import annotations

# Until 0.9.2 the agent's sinks were called so.
RENAMED = {"agentFailoverSink": "agentDFOSink", "agentBestEffortSink": "agentBESink"}

_RECEIVE = "collectorSource(PORT) takes what agents deliver, avro(PORT) what Flume NG's clients send"
_SEND = 'an agent delivers by agentBESink("HOST", PORT), agentE2ESink, ..., or logicalSink("NODE")'
_STORE = 'file("/DIRECTORY/", "PREFIX") stores'
_COUNT = "what passes is counted in the metrics, and the source report has them as events"
_LOG = "what waits for its destination is in the channel: SOURCE | fileChannel | agentE2ESink(...)"
_SPILL = "what waits for its destination is in the channel: SOURCE | spillChannel | agentDFOSink(...)"
_VERIFY = '"qanat verify" finds what is lost or doubled'
_SHOW = f'{_STORE}, and "qanat tap NODE" shows events as they pass'

_INSTEAD: dict[str, dict[str, str]] = {
    "source": {
        **dict.fromkeys(("rpcSource", "thriftSource", "avroSource", "tpriosource"), _RECEIVE),
        **dict.fromkeys(("synthrndsize", "nonlsynth", "attrsynth"), "write asciisynth(COUNT, BYTES)"),
        "scribe": "write syslogTcp(PORT), http(PORT) or kafka(...)",
        "seqfile": 'spoolDir("/DIRECTORY") reads lines, json, csv, avro and parquet',
        "log4jfile": 'write tail("FILE", multiline=multiline(start="^\\\\d{4}-"))',
    },
    "sink": {
        **dict.fromkeys(("rpcSink", "thriftSink", "avroSink"), _SEND),
        **dict.fromkeys(("console", "text"), _SHOW),
        **dict.fromkeys(
            ("seqfile", "dfs", "formatDfs", "escapedFormatDfs", "customdfs", "escapedCustomDfs"), _STORE
        ),
        **dict.fromkeys(
            (
                "counter",
                "accumulator",
                "counterHistory",
                "multigrep",
                "multigrepspec",
                "regexhisto",
                "ganglia",
            ),
            _COUNT,
        ),
        "null": "a decorator leaves out what nobody wants: drop(...)",
        "failChain": "write < a ? b >",
    },
    "decorator": {
        **dict.fromkeys(("ackedWriteAhead", "writeAhead"), _LOG),
        "diskFailover": _SPILL,
        **dict.fromkeys(("bloomGen", "bloomCheck", "benchinject", "benchreport"), _VERIFY),
    },
}


def instead(kind: str, name: str) -> str | None:
    """What to write, of a `kind` that has no `name` here and had one in Flume OG."""
    return _INSTEAD.get(kind, {}).get(name)
