"""The files in deploy/ fit the programs as they are."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
import yaml

from tests.tidy.tree import ROOT, name

DEPLOY = ROOT / "deploy"
FLOWS = sorted(DEPLOY.rglob("*.flow"))
UNITS = sorted(DEPLOY.rglob("*.service"))
ENVIRONMENTS = sorted(DEPLOY.rglob("*.env"))
COMPOSE = DEPLOY / "docker" / "compose.yaml"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))

# Variables that no option of a command is for: the units' own, and those that are read where they are needed.
OTHER_VARIABLES = {"QANAT_FLOW", "QANAT_STORE_PASSWORD", "QANAT_AUTHOR", "QANAT_HEALTH_URL"}


@pytest.mark.parametrize("flow", FLOWS, ids=name)
def test_example_flow_has_no_fault(flow):
    from click.testing import CliRunner

    from qanat.cli.check_command import command

    result = CliRunner().invoke(command, [str(flow)], standalone_mode=False)
    assert result.exception is None, result.output
    assert result.return_value in (None, 0), result.output


def _command(program):
    from qanat.cli.main import LazyGroup

    command = LazyGroup().get_command(click.Context(LazyGroup()), program)
    assert command is not None, f"there is no qanat {program}"
    return command


def _options(program):
    return {option for parameter in _command(program).params for option in parameter.opts}


def _variables(program):
    """The environment variables that a command, or all of them, look at."""
    group = _command_group().params
    return {each.envvar for each in (*_command(program).params, *group) if isinstance(each.envvar, str)}


def _command_group():
    from qanat.cli.main import cli

    return cli


def _assert_fits(where, program, arguments, variables):
    unknown = {each for each in arguments if each.startswith("--")} - _options(program)
    assert not unknown, f"{where}: qanat {program} has no {unknown}"
    unknown = (
        {each for each in variables if each.startswith("QANAT_")} - _variables(program) - OTHER_VARIABLES
    )
    assert not unknown, f"{where}: qanat {program} does not look at {unknown}"


def _unit(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser["Service"]


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_unit_starts_a_command_with_options_and_variables_that_it_has(unit):
    _, program, *arguments = _unit(unit)["ExecStart"].split()
    assert unit.name == f"qanat-{program}.service"
    file = unit.with_name(f"{program}.env")
    variables = re.findall(r"^#?(\w+)=", file.read_text(), re.MULTILINE)
    variables += re.findall(r"(?:^Environment=|\s)(QANAT_\w+)=", unit.read_text(), re.MULTILINE)
    assert _unit(unit)["EnvironmentFile"].lstrip("-") == f"/etc/qanat/{file.name}"
    _assert_fits(name(unit), program, arguments, variables)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_systemd_takes_the_unit(unit, tmp_path):
    program = _unit(unit)["ExecStart"].split()[0]
    copy = tmp_path / unit.name  # the program is not installed where the unit expects it
    copy.write_text(unit.read_text().replace(program, sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if unit.name in line]
    assert not complaints


@pytest.fixture
def compose():
    return yaml.safe_load(COMPOSE.read_text())


def test_compose_file_starts_commands_with_options_and_variables_that_they_have(compose):
    for service, each in compose["services"].items():
        if each["image"] == "qanat" and "entrypoint" not in each:
            program, *arguments = each.get("command", ["status"])
            environment = set(each.get("environment", {})) - {"QANAT_AUTHOR"}
            _assert_fits(service, program, arguments, environment)


def test_compose_file_has_what_the_design_asks_for(compose):
    services = compose["services"]
    always = [service for service, each in services.items() if "profiles" not in each]
    kinds = [re.sub(r"\d", "", service) for service in always]
    assert {kind: kinds.count(kind) for kind in ("zk", "m", "c", "a", "app")} == {
        "zk": 3, "m": 3, "c": 2, "a": 2, "app": 2,
    }  # fmt: skip
    for service in always:
        assert set(services[service].get("depends_on", {})) <= set(always), service
        mounts = [mount.partition(":") for mount in services[service].get("volumes", [])]
        named = {source for source, _, _ in mounts if not source.startswith(".")}
        assert named <= set(compose["volumes"]), service
        for source, _, _ in mounts:
            assert not source.startswith(".") or (COMPOSE.parent / source).exists(), service
    store, masters = "QANAT_STORE", "QANAT_MASTER"
    assert len({services[each]["environment"][store] for each in ("m1", "m2", "m3", "c1", "c2")}) == 1
    assert len({services[each]["environment"][masters] for each in ("c1", "c2", "a1", "a2")}) == 1
    for each in ("c1", "c2", "a1", "a2"):  # what has to survive a new container
        assert any(mount.endswith(":/var/lib/qanat") for mount in services[each]["volumes"])


def test_dockerfile_copies_what_exists_and_runs_as_a_user_that_is_not_root():
    text = DOCKERFILE.read_text()
    ignored = (DOCKERFILE.with_name("Dockerfile.dockerignore")).read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = shlex.split(line)
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, f"{source} is not let into the build"
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/opt/qanat/bin/qanat"\]$', text, re.MULTILINE), (
        "no shell in between: SIGTERM is for the program"
    )
    variables = set(re.findall(r"\b(QANAT_\w+)=", text))
    assert variables <= {each for program in ("master", "agent", "collector") for each in _variables(program)}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name)
def test_manifest_starts_commands_with_options_and_variables_that_they_have(manifest):
    for document in yaml.safe_load_all(manifest.read_text()):
        pod = document.get("spec", {}).get("template", {}).get("spec", {}) if document else {}
        for container in pod.get("containers", []):
            if container["image"].partition(":")[0] == "qanat":
                program, *arguments = container["args"]
                _assert_fits(
                    f"{name(manifest)}: {container['name']}",
                    program,
                    arguments,
                    # Commands are run in there, too.
                    {each["name"] for each in container.get("env", [])} - _variables("status"),
                )


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=name)
def test_environment_file_has_a_unit(environment):
    assert environment.with_name(f"qanat-{environment.stem}.service").exists()
