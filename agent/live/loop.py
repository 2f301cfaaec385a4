"""An event loop on a thread of its own: what a live source with connections lives on, apart from the program's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """*Thread*: `run`, `close` not on the loop itself; `post` any."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """*Blocking* until the coroutine has ended on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Call on the loop, soon; nothing once it is closed."""
        try:
            self.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def close(self) -> None:
        """End the loop and its thread. Idempotent."""
        if self._thread.is_alive():
            self.post(self.loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.close()
