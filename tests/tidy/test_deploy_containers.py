"""What only a container engine or Kubernetes would find in deploy/docker and deploy/kubernetes, found without one."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading

import pytest
import yaml

from qanat import health
from tests.tidy.test_deploy import COMPOSE, DOCKERFILE, MANIFESTS
from tests.tidy.tree import name

HEALTHCHECK = DOCKERFILE.with_name("healthcheck.py")


@pytest.fixture(scope="module")
def asked():
    """A program's port, and the paths asked there: /readyz is not, everything else is well."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            body = b"ok\n" if self.path != "/readyz" else b"it is not\n"
            self.send_response(200 if self.path != "/readyz" else 503)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], paths
        server.shutdown()
        thread.join()


def _check(**environment):
    return subprocess.run(
        [sys.executable, "-IS", str(HEALTHCHECK)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_master_is_asked_whether_it_is_ready(asked):
    port, paths = asked
    checked = _check(QANAT_MASTER_HTTP=f"0.0.0.0:{port}", QANAT_METRICS="0.0.0.0:1")
    assert (checked.returncode, paths[-1]) == (1, "/readyz")
    assert "503 it is not" in checked.stdout


def test_an_agent_is_asked_whether_it_lives_or_what_the_variable_names(asked):
    port, paths = asked
    nobody = {"QANAT_MASTER_HTTP": "0.0.0.0:1", "QANAT_METRICS": f"0.0.0.0:{port}"}
    assert (_check(**nobody).returncode, paths[-1]) == (0, "/healthz")
    named = _check(**nobody, QANAT_HEALTH_URL=f"http://127.0.0.1:{port}/readyz")
    assert (named.returncode, paths[-1]) == (1, "/readyz")


def test_nobody_listens():
    assert _check(QANAT_METRICS="0.0.0.0:1").returncode == 1


def _image_ports():
    text = DOCKERFILE.read_text()
    exposed = re.search(r"^EXPOSE (.*)$", text, re.MULTILINE)
    assert exposed is not None
    ports = {int(port) for port in exposed[1].split()}
    for variable in ("QANAT_MASTER_HTTP", "QANAT_METRICS"):
        found = re.search(rf"{variable}=\S+:(\d+)", text)
        assert found is not None, variable
        assert int(found[1]) in ports, variable
    return ports


def test_compose_file_asks_and_publishes_ports_of_the_image():
    compose = yaml.safe_load(COMPOSE.read_text())
    for service, each in compose["services"].items():
        for published in each.get("ports", []):
            assert int(published.rpartition(":")[2]) in _image_ports(), service
        url = each.get("environment", {}).get("QANAT_HEALTH_URL")
        if url is not None:
            port, _, path = url.removeprefix("http://127.0.0.1:").partition("/")
            assert int(port) in _image_ports(), service
            assert f"/{path}" in health.PATHS, service


def test_somebody_waits_for_the_end_of_what_ends():
    """`docker compose up --wait` fails when a container ends and none depends on that."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    waited_for = {
        other
        for each in services.values()
        for other, dependency in each.get("depends_on", {}).items()
        if dependency["condition"] == "service_completed_successfully"
    }
    ends = {service for service, each in services.items() if each["restart"] == "on-failure"}
    assert ends == waited_for == {"configure"}


def _pods(manifest):
    for document in yaml.safe_load_all(manifest.read_text()):
        if document["kind"] in ("StatefulSet", "DaemonSet"):
            yield document


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name)
def test_probes_ask_ports_and_paths_that_there_are(manifest):
    for document in _pods(manifest):
        for container in document["spec"]["template"]["spec"]["containers"]:
            ports = {each.get("name"): each["containerPort"] for each in container["ports"]}
            if container["image"].startswith("qanat:"):
                assert set(ports.values()) <= _image_ports()
                for probe in ("readinessProbe", "livenessProbe"):
                    assert container[probe]["httpGet"]["port"] in ports
                    assert container[probe]["httpGet"]["path"] in health.PATHS


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name)
def test_what_is_mounted_is_a_volume_that_the_pod_has(manifest):
    for document in _pods(manifest):
        pod = document["spec"]["template"]["spec"]
        claims = document["spec"].get("volumeClaimTemplates", [])
        volumes = {each["name"] for each in pod.get("volumes", [])} | {
            each["metadata"]["name"] for each in claims
        }
        mounted = {mount["name"] for each in pod["containers"] for mount in each.get("volumeMounts", [])}
        assert mounted == volumes


def test_all_that_zookeeper_writes_outlives_its_container():
    """The image writes snapshots to /data and what came since to /datalog; both are needed to go on."""
    (manifest,) = [each for each in MANIFESTS if each.name == "zookeeper.yaml"]
    (pod,) = [document["spec"]["template"]["spec"] for document in _pods(manifest)]
    (container,) = pod["containers"]
    assert {"/data", "/datalog"} <= {each["mountPath"] for each in container["volumeMounts"]}
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for service in ("zk1", "zk2", "zk3"):
        assert {each.rpartition(":")[2] for each in services[service]["volumes"]} == {"/data", "/datalog"}
