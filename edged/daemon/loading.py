"""Loads a model beside the main thread, which goes on to hear signals and to feed the watchdog."""

from __future__ import annotations

import threading

from edged.assembly import LoadedModel, load_model
from edged.config.schema import Engine, Model


class Loading:
    """One attempt to load a model, begun at once.

    Args:
        model, engine: as configured.
    """

    def __init__(self, model: Model, engine: Engine) -> None:
        self._settings = (model, engine)
        self._loaded: LoadedModel | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load-model", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loaded = load_model(*self._settings)
        except BaseException as exc:  # noqa: BLE001 - told to whoever takes the result
            self._failure = exc

    @property
    def under_way(self) -> bool:
        """Whether it still loads."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """At most so long for it to end."""
        self._thread.join(timeout_s)

    def result(self) -> LoadedModel:
        """The model, once it is no longer under way.

        Raises:
            EdgedError: what `load_model` raised.
        """
        if self._failure is not None:
            raise self._failure
        if self._loaded is None:
            raise RuntimeError("the model is still being loaded")
        return self._loaded
