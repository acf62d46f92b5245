"""What serves beside the demo's view: an event loop in a thread of its own. Knows nothing of what it serves."""

import asyncio
import threading
from abc import ABC, abstractmethod

from ownership_stream.errors import OwnershipError


class LoopThread(ABC):
    """Something that serves until it is told to stop. ``name``: what errors call it."""

    def __init__(self, name: str, *, start_seconds: float, stop_seconds: float) -> None:
        self._name, self._start_seconds, self._stop_seconds = name, start_seconds, stop_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.error: OwnershipError | None = None

    @abstractmethod
    async def _serve(self, stop: asyncio.Event) -> None:
        """Serves until ``stop`` is set; sets ``_started`` as soon as it answers."""

    def start(self) -> None:
        """Starts it; returns when it answers, raises the error of what did not come that far."""
        self._thread.start()
        if not self._started.wait(self._start_seconds):
            raise OwnershipError(f"the {self._name} did not start within {self._start_seconds:.0f} s")
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Stops it, with everything at work settled."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread.ident is not None:
            self._thread.join(self._stop_seconds)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve_here())
        except OwnershipError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 (told to whoever runs the demo, who ends it)
            self.error = OwnershipError(f"the {self._name} ended: {type(error).__name__}")
        finally:
            self._started.set()

    async def _serve_here(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._serve(self._stop)
