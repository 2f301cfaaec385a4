"""Which paths a list of paths and globs means: `*`, `?`, `[...]` within a name, `**` for any directories.

As in a shell, wildcards don't match a leading dot. Links to directories are followed, but not by `**`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qanat.errors import ConfigError

_MAGIC = re.compile(r"[*?\[]")


def _name_regex(segment: str) -> str:
    """The regular expression of one path segment."""
    out = [] if segment.startswith(".") else [r"(?!\.)"]
    at = 0
    while at < len(segment):
        char = segment[at]
        close = segment.find("]", at + 2) if char == "[" else -1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif close > 0:
            body = segment[at + 1 : close].replace("\\", r"\\").replace("[", r"\[")
            out.append("[" + ("^" + body[1:] if body[0] in "!^" else body) + "]")
            at = close
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _compiled(regex: str, glob: str) -> re.Pattern[str]:
    try:
        return re.compile(regex, re.DOTALL)
    except re.error as error:
        raise ConfigError(
            f"the glob {glob} can't be read: {error.msg}; [a-z] is a range from the lower character to the higher one"
        ) from error


class Pattern:
    """One path or glob, absolute. `literal`: a path, whatever is in it. Raises ConfigError for a glob that means nothing."""

    def __init__(self, text: str, *, literal: bool = False) -> None:
        self.text = os.path.abspath(text)
        self._segments = self.text.strip("/").split("/")
        self.magic = not literal and _MAGIC.search(self.text) is not None
        self._names: list[re.Pattern[str]] = []
        self._whole: re.Pattern[str] | None = None
        if self.magic:  # a check of twenty thousand paths need not compile each
            self._compile()

    def _compile(self) -> None:
        parts = [
            r"(?:[^/.][^/]*/)*" if segment == "**" else _name_regex(segment) + "/"
            for segment in self._segments
        ]
        whole = "/" + "".join(parts).removesuffix("/")
        if self._segments[-1] == "**":
            whole += r"(?!\.)[^/]*"
        self._names = [_compiled(_name_regex(segment), self.text) for segment in self._segments]
        self._whole = _compiled(whole, self.text)

    def matches(self, path: str) -> bool:
        """Whether `path` (absolute) is meant."""
        return path == self.text if self._whole is None else self._whole.fullmatch(path) is not None

    def walk(self, found: Found) -> None:
        """Add the files that exist now, and the directories in which more may appear."""
        self._walk("/", 0, found)

    def _is_glob(self, segment: str) -> bool:
        return self.magic and _MAGIC.search(segment) is not None

    def _walk(self, directory: str, depth: int, found: Found) -> None:
        segment, last = self._segments[depth], depth == len(self._segments) - 1
        if segment == "**" and self.magic:
            self._descend(directory, depth, found)
        elif not self._is_glob(segment):
            self._literal(directory, segment, depth, found)
        else:
            name = self._names[depth]
            for entry in found.entries(directory):
                if name.fullmatch(entry.name):
                    if last:
                        found.files.setdefault(entry.path)
                    elif entry.is_dir():
                        self._walk(entry.path, depth + 1, found)

    def _literal(self, directory: str, segment: str, depth: int, found: Found) -> None:
        path = os.path.join(directory, segment)
        if depth == len(self._segments) - 1:
            found.directories.setdefault(directory)
            found.files.setdefault(path)
        elif os.path.isdir(path):
            self._walk(path, depth + 1, found)
        else:
            found.directories.setdefault(directory)  # the next directory may be created there

    def _descend(self, directory: str, depth: int, found: Found) -> None:
        last = depth == len(self._segments) - 1
        if not last:
            self._walk(directory, depth + 1, found)
        for entry in found.entries(directory):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                self._walk(entry.path, depth, found)
            elif last:
                found.files.setdefault(entry.path)


@dataclass(slots=True)
class Found:
    """What a walk found: files (literal paths also when they don't exist yet) and directories to watch, in order."""

    files: dict[str, None] = field(default_factory=dict)
    directories: dict[str, None] = field(default_factory=dict)

    def entries(self, directory: str) -> list[os.DirEntry[str]]:
        """The entries of a directory, by name; none when it can't be listed."""
        self.directories.setdefault(directory)
        try:
            with os.scandir(directory) as listing:
                return sorted(listing, key=lambda entry: entry.name)
        except OSError:
            return []


class Tree:
    """The files of a directory, and of those below it down to `depth`, whose names match an expression as a whole."""

    magic = True

    def __init__(self, directory: str, name: re.Pattern[str], depth: int) -> None:
        self.text = os.path.abspath(directory)
        self._name = name
        self._depth = depth

    def matches(self, path: str) -> bool:
        """Whether `path` (absolute) is meant."""
        directory, base = os.path.split(path)
        if self._name.fullmatch(base) is None:
            return False
        if directory == self.text:
            return True
        below = os.path.relpath(directory, self.text).split("/")
        return below[0] != ".." and len(below) <= self._depth

    def walk(self, found: Found) -> None:
        """Add the files that exist now, and the directories in which more may appear."""
        self._walk(self.text, self._depth, found)

    def _walk(self, directory: str, depth: int, found: Found) -> None:
        for entry in found.entries(directory):
            if entry.is_dir(follow_symlinks=False):
                if depth > 0:
                    self._walk(entry.path, depth - 1, found)
            elif self._name.fullmatch(entry.name) is not None:
                found.files.setdefault(entry.path)


class Discovery:
    """The paths and globs of one source, and trees, less what is excluded (globs on base names)."""

    def __init__(
        self,
        paths: Sequence[str],
        exclude: Iterable[str],
        trees: Sequence[Tree] = (),
        *,
        literal: bool = False,
    ) -> None:
        self._patterns: list[Pattern | Tree] = [*(Pattern(path, literal=literal) for path in paths), *trees]
        # One expression for all; of no name, it matches none.
        names = [_compiled(_name_regex(name), name).pattern for name in exclude]
        self._exclude = re.compile("|".join(f"(?:{name})" for name in names), re.DOTALL)
        self._literals = {pattern.text for pattern in self._patterns if not pattern.magic}

    def matches(self, path: str) -> bool:
        """Whether `path` is watched."""
        return path in self._literals or (
            any(pattern.matches(path) for pattern in self._patterns if pattern.magic)
            and not self.excludes(path)
        )

    def walk(self) -> Found:
        """Everything that is watched now. *Blocking*: lists every directory."""
        found = Found()
        for pattern in self._patterns:
            pattern.walk(found)
        found.files = {
            path: None for path in found.files if path in self._literals or not self.excludes(path)
        }
        return found

    def excludes(self, path: str) -> bool:
        """Whether globs leave out a file of this name."""
        return self._exclude.fullmatch(os.path.basename(path)) is not None
