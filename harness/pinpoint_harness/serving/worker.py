"""The methods that are served: one of them loaded at a time, asked by one thread, photo after photo."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..devices import default_device
from ..errors import HarnessError, UsageError
from ..features import FinishedStores, StoreLookup
from ..locate import Locator, check_looks
from ..plugins import what_was_raised
from ..running import build_params, param_specs
from ..training import open_stages
from ..types import Context
from .access import RefusedError

if TYPE_CHECKING:
    from ..home import Home
    from ..locate import Answer
    from ..plugins import Entry, Registry
    from ..types import MethodInfo

MOST_WAITING = 8
"""Photos that are received or wait at a time; each is kept in memory as it was sent."""


@dataclass(frozen=True)
class Offer:
    """A method that can be chosen; `filters_authors`: it can leave out a photographer's photos."""

    name: str
    title: str
    filters_authors: bool


@dataclass(frozen=True)
class ServedMethods:
    """Which methods are served and how they are loaded, in the words of `pinpoint locate`.

    `names` are always offered, the first of them at first; beside them every trained method whose stages
    are all there. Of the `settings` each method takes those that it has.
    """

    registry: Registry
    home: Home
    names: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = "photos"
    device: str = "auto"
    weights: str | None = None

    def offers(self) -> dict[str, Offer]:
        """What can be chosen, by name. UsageError for one of `names`, or a setting, that does not fit."""
        named = [self.registry.method(name) for name in self.names]
        for setting in self.settings:
            if not any(setting in self._settings_of(entry) for entry in named):
                raise UsageError(
                    f"--set {setting}: no method of these has such a parameter",
                    found=", ".join(self.names),
                    fix="name the method that has it with --method",
                )
        found = {entry.name: self._offer(entry) for entry in named}
        for name, entry in self.registry.methods.items():
            if name not in found and self._is_trained(entry):
                found[name] = self._offer(entry)
        return found

    def load(self, name: str, author_filter: bool) -> Locator:
        """A method with its filter on or off; otherwise as it is set."""
        settings = self._settings_of(self.registry.method(name))
        if author_filter:
            settings = {**settings, "author_filter": True}
        return Locator(
            self.registry,
            name,
            settings,
            source=self.source,
            device=self.device,
            home=self.home,
            weights=self.weights,
        )

    def _settings_of(self, entry: Entry[MethodInfo]) -> dict[str, Any]:
        known = {spec.name for spec in param_specs(entry, {})}
        return {name: value for name, value in self.settings.items() if name in known}

    def _offer(self, entry: Entry[MethodInfo]) -> Offer:
        check_looks(entry, getattr(entry.load(), "input", ""))
        params = build_params(entry, self._settings_of(entry))
        return Offer(entry.name, entry.info.title, isinstance(getattr(params, "author_filter", None), bool))

    def _is_trained(self, entry: Entry[MethodInfo]) -> bool:
        """Whether it can be asked without training or embedding anything first."""
        try:
            loaded = entry.load()
            if not hasattr(loaded, "stages"):
                return False
            self._offer(entry)
            params = build_params(entry, self._settings_of(entry))
            device = default_device(self.device)
            stores = StoreLookup(self.registry, self.home.stores, device, self.weights)
            finished = FinishedStores(stores, entry, params)
            context = Context(device=device, stores=finished, models=self.home.models)
            models = getattr(params, "models", None) or context.models
            open_stages(loaded.stages(params, context), models, context)
        except HarnessError:
            return False
        return True


@dataclass(frozen=True)
class Question:
    """A photo as it was sent, and who is asked about it; `author` is whose photos are left out."""

    method: str
    author: str | None
    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """An answer, the method that gave it, and the seconds it waited, was loaded for and computed."""

    answer: Answer
    locator: Locator
    seconds: Mapping[str, float]


class Worker:
    """Answers questions in the order in which they come, in one thread that holds the method."""

    def __init__(self, methods: ServedMethods) -> None:
        self.methods = methods
        self.offers = methods.offers()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pinpoint-served")
        self._held: tuple[tuple[str, bool], Locator] | None = None
        self._waiting = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those who wait, held until a photo is answered; RefusedError where none is free."""
        if self._waiting >= MOST_WAITING:
            raise RefusedError(
                503,
                f"{MOST_WAITING} photos are waiting already",
                fix="send it again when some of them are answered",
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def ask(self, question: Question) -> Reply:
        """The reply to a question; HarnessError where the method cannot be loaded or fails."""
        if question.method not in self.offers:
            raise UsageError(
                f"method '{question.method}' is not served here",
                found=", ".join(self.offers),
                fix="choose one of these, or start `pinpoint serve` with --method and its name",
            )
        if question.author is not None and not self.offers[question.method].filters_authors:
            raise UsageError(
                f"method '{question.method}' cannot leave out a photographer's photos",
                fix="leave the photographer empty, or choose another method",
            )
        asked = time.monotonic()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._reply, question, asked)

    def load(self, name: str, author_filter: bool = False) -> Locator:
        """The method, loaded unless it is the one that is held; another that is held is let go before."""
        key = (name, author_filter)
        if self._held is None or self._held[0] != key:
            self._held = None
            gc.collect()  # two galleries may be more than there is memory for
            self._held = (key, self.methods.load(name, author_filter))
        return self._held[1]

    def notes(self) -> list[str]:
        """What must be said beside the answers of the method that is held."""
        held = self._held
        return [] if held is None else held[1].notes()

    def close(self) -> None:
        """Let nobody wait any longer; the photo in hand is finished."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _reply(self, question: Question, asked: float) -> Reply:
        from ..images.loose import Photo

        began = time.monotonic()
        try:
            locator = self.load(question.method, question.author is not None)
            loaded = time.monotonic()
            photo = Photo(question.name, lambda: question.data)
            (answer,) = locator.answers([photo], question.author)
        except HarnessError:
            raise
        except Exception as error:
            # Such as a device that has no memory left: it is told, and the next photo is asked about.
            raise RefusedError(500, "the method failed", found=what_was_raised(error)) from error
        ended = time.monotonic()
        seconds = {"waiting": began - asked, "loading": loaded - began, "answering": ended - loaded}
        return Reply(answer, locator, seconds)
