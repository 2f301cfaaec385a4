"""Generated code is committed, so it has to be what the generator makes of its source."""

from __future__ import annotations

import re
import tomllib

import pytest
from grpc_tools import protoc

from tests.tidy.tree import GENERATED, ROOT, name

PROTOS = sorted((ROOT / "proto" / "qanat").rglob("*.proto"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A directory with newly generated code."""
    out = tmp_path_factory.mktemp("wire")
    source = ROOT / "proto" / "qanat"
    arguments = [f"-I{source}", f"--python_out={out}", f"--pyi_out={out}", *map(str, PROTOS)]
    assert protoc.main(["protoc", *arguments]) == 0
    return out


def _descriptor(text: str) -> str:
    """The serialized contract; the code around it differs between releases of the generator."""
    found = re.search(r"AddSerializedFile\((b'.*')\)", text)
    assert found is not None
    return found[1]


def _generator(text: str) -> str:
    """The release that made the file."""
    found = re.search(r"Protobuf Python Version: (\S+)", text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("proto", PROTOS, ids=name)
def test_wire_code_is_up_to_date(fresh, proto):
    stem = str(proto.relative_to(ROOT / "proto" / "qanat").with_suffix(""))
    ours, new = ((root / f"{stem}_pb2.py").read_text() for root in (GENERATED, fresh))
    assert _descriptor(ours) == _descriptor(new), f"{name(proto)} changed: run `make proto`"
    if _generator(ours) == _generator(new):
        stubs = [(root / f"{stem}_pb2.pyi").read_text() for root in (GENERATED, fresh)]
        assert stubs[0] == stubs[1], "run `make proto`"


@pytest.mark.parametrize("proto", PROTOS, ids=name)
def test_required_protobuf_runs_the_generated_code(proto):
    stem = str(proto.relative_to(ROOT / "proto" / "qanat").with_suffix(""))
    needed = _generator((GENERATED / f"{stem}_pb2.py").read_text())
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (protobuf,) = (dependency for dependency in dependencies if dependency.startswith("protobuf"))
    assert f">={needed}" in protobuf, f"older releases refuse the code at import: require protobuf>={needed}"
