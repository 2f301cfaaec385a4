"""The shell at a terminal: editing, history and completion by prompt_toolkit."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.shortcuts import CompleteStyle

from qanat.cli.shell import words
from qanat.cli.shell.completing import Completions
from qanat.cli.shell.history import FileHistory, default_path


class Prompt:
    """Asks for lines."""

    def __init__(self, completions: Completions) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(default_path()),
            completer=_Completer(completions),
            complete_in_thread=True,  # a master may take its time
            complete_while_typing=False,
            complete_style=CompleteStyle.MULTI_COLUMN,
            multiline=Condition(self._is_unfinished),
            prompt_continuation="... ",
            enable_history_search=True,
            enable_open_in_editor=True,  # Ctrl-X Ctrl-E, for what has grown too long for a line
        )

    def ask(self, message: str) -> str:
        """A line, or several with a quote around them. Raises KeyboardInterrupt on Ctrl-C, EOFError on Ctrl-D."""
        return self._session.prompt(message)

    def _is_unfinished(self) -> bool:
        return words.is_unfinished(self._session.default_buffer.text)


class _Completer(Completer):
    def __init__(self, completions: Completions) -> None:
        self._completions = completions

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        for each in self._completions.of(text):
            blank = " " if each.is_whole and not words.read(text).quote else ""
            yield Completion(
                each.text + blank, each.start - len(text), display=each.text, display_meta=each.help
            )
