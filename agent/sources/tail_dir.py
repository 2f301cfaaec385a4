"""`tailDir("/var/log/app", "fileregex", startFromEnd, recursedepth)`: the files of a directory, followed, as of Flume OG; with
groups of files that have headers of their own, as of Flume NG's Taildir.

Guarantee: that of [tail](tail.md): every line of every file exactly once at level E2E, in order, through rotation and restarts.
Names of files are matched as a whole by a regular expression (mind that a string of a flow wants `\\\\` for `\\`).

    app : tailDir("/var/log/app", "(web|api)\\\\.log.*") | agentE2EChain("c1", "c2") ;
    all : tailDir(groups=[group("w", "/var/log/w/.*", ["service=shop"]), group("db", "/var/log/db/.*")]) | agentE2EChain("c1") ;
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

import msgspec

from agent.faults import wrong_pattern
from agent.sources.tail import Tail, TailOptions, wrong_options
from agent.tailing import names
from agent.tailing.discovery import Discovery, Tree
from qanat import limits
from qanat.component import Context, Wrong


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="group"):
    """Files with attributes of their own."""

    name: str  # for people
    path: str  # a directory, a slash, and the regular expression of names of files
    headers: list[str] = []  # attributes of all their events, each as "name=value"


class TailDirConfig(TailOptions, frozen=True, forbid_unknown_fields=True):
    """What `tailDir(...)` accepts.

    `groups` are written `group("name", "/directory/regex", ["header=value", ...])`; a file that several match is of the first.
    """

    dir: str = ""  # the directory; it may appear later
    fileregex: str = ".*"  # names of files match it as a whole
    start_from_end: bool = msgspec.field(
        default=False, name="startFromEnd"
    )  # files that exist at the first start are read from their ends
    recursedepth: Annotated[int, msgspec.Meta(ge=0)] = 0  # how far below the directory there may be files
    groups: list[Group] = msgspec.field(default_factory=list)  # beside the directory, or instead of it
    file_header: str = "file"  # the attribute that has the path of the file


class TailDir(Tail):
    """Streams and positions are those of `tail`."""

    name: ClassVar[str] = "tailDir"
    Config: ClassVar[type[msgspec.Struct]] = TailDirConfig

    def __init__(self, config: TailDirConfig, context: Context) -> None:
        self._directory = config
        self._groups = [
            (tree, _headers(group)) for group in config.groups if (tree := _tree_of(group)) is not None
        ]
        super().__init__(config, context)

    def discovery(self) -> Discovery:
        """See Tail."""
        trees = [tree for tree, _ in self._groups]
        expression = _compiled(self._directory.fileregex)
        if self._directory.dir and expression is not None:
            trees.append(Tree(self._directory.dir, expression, self._directory.recursedepth))
        return Discovery((), self._config.exclude, trees)

    def attributes(self, path: str) -> Mapping[str, str]:
        """See Tail."""
        found: dict[str, str] = {}
        if self._directory.file_header != "file":
            found[self._directory.file_header] = names.display(path)
        for tree, headers in self._groups:
            if tree.matches(path):
                return {**found, **headers}
        return found

    def is_from_end(self) -> bool:
        """See Tail."""
        return self._config.start == "end" or self._directory.start_from_end

    @classmethod
    def check(cls, config: TailDirConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_options(config)
        if not config.dir and not config.groups:
            yield Wrong("dir", 'give a directory, or groups of files: tailDir("/var/log/app", ".*")')
        yield from wrong_pattern("fileregex", config.fileregex)
        if not config.file_header:
            yield Wrong("file_header", "it is empty, and must be the name of an attribute")
        for group in config.groups:
            yield from (Wrong("groups", why) for why in _faults(group))


def _faults(group: Group) -> Iterable[str]:
    if _tree_of(group) is None:
        yield (
            f'group("{group.name}", "{group.path}") needs an absolute directory, a slash and a regular expression, '
            'as "/var/log/web/.*\\\\.log"'
        )
    for header in group.headers:
        name, equals, _ = header.partition("=")
        if not name or not equals:
            yield f'group("{group.name}", headers=["{header}"]) must be "name=value"'
    if sum(map(len, group.headers)) > limits.ATTRIBUTES_BYTES_MAX // 4:
        yield f'group("{group.name}") has headers of more than {limits.ATTRIBUTES_BYTES_MAX // 4} bytes'


def _headers(group: Group) -> dict[str, str]:
    split = (header.partition("=") for header in group.headers)
    return {name: value for name, _, value in split}


def _tree_of(group: Group) -> Tree | None:
    directory, name = os.path.split(group.path)
    expression = _compiled(name)
    if not os.path.isabs(directory) or not name or expression is None:
        return None
    return Tree(directory, expression, 0)


def _compiled(expression: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        return None
