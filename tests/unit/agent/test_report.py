"""The source `report`."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.sources.report import Report, ReportConfig
from qanat.metrics import Metrics
from tests.unit.agent.live import listening
from tests.unit.agent.scripted import context


def test_reports_are_the_metrics_of_the_process_as_json_and_go_on(tmp_path):
    metrics = Metrics()
    metrics.counts("web")("events_truncated", 3)
    made = Report(ReportConfig(0.1), replace(context(tmp_path), metrics=metrics.render))
    with listening(made) as heard:
        while len(heard.rows) < 2:
            heard.take()
        first = json.loads(heard.bodies[0])
        assert first["physical_node"] == "agent"
        assert any("web" in name and value == 3 for name, value in first["samples"].items())
        assert heard.rows[0]["host"] == "host"


def test_report_that_has_no_room_ends_with_the_node(tmp_path):
    made = Report(ReportConfig(0.1), context(tmp_path))
    with listening(made, inlet_bytes=1):
        pass
