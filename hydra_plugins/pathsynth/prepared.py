"""A launcher that has something to see to before the sweep is announced, and knows then how many trials run at once."""

from __future__ import annotations

from abc import abstractmethod

from hydra.plugins.launcher import Launcher


class PreparedLauncher(Launcher):
    """What pathsynth's sweepers ask of such a launcher; under another sweeper :meth:`launch` does without."""

    @abstractmethod
    def check(self) -> None:
        """Raises RequestError where its settings are wrong, or what it needs is not installed. Starts nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Have everything ready that jobs need.

        Raises:
            RequestError: no job could run.
        """

    @abstractmethod
    def at_once(self) -> int:
        """How many trials run at once; before :meth:`prepare` as far as that is known."""
