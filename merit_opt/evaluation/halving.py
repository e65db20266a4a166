"""Packs that do not fit into memory: halved once, for good."""

from collections.abc import Callable
from typing import TypeVar

import torch

from merit_opt.errors import TrialFailed
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.models.pack import Pack

T = TypeVar("T")


class Halving:
    """Puts packs through the model, half the questions at a time where all do not fit.

    Args:
        reporter: Is told of each pack that is halved.
        forget: Lets go of what is kept in memory of a pack.
    """

    def __init__(self, reporter: EngineReporter, forget: Callable[[Pack], None]) -> None:
        self._reporter = reporter
        self._forget = forget
        self._halves: dict[Pack, tuple[Pack, Pack]] = {}

    def __call__(self, pack: Pack, make: Callable[[Pack, int], T]) -> list[T]:
        """What is made of the pack, or of each of its halves.

        Args:
            pack: What goes through the model.
            make: From a pack, and how many of its first rows have gone through in another half.

        Raises:
            OutOfMemoryError: A pack of one question does not fit.
            TrialFailed: Half a pack does not.
        """
        if pack not in self._halves:
            try:
                return [make(pack, 0)]
            except torch.OutOfMemoryError:
                if len(pack.questions) == 1:
                    raise
            self._halve(pack)
        first, second = self._halves[pack]
        try:
            return [make(first, 0), make(second, second.prefix)]
        except torch.OutOfMemoryError as error:
            raise TrialFailed(
                f"out of memory, with half the questions of a medium too: {error}"
            ) from error

    def _halve(self, pack: Pack) -> None:
        self._forget(pack)
        torch.cuda.empty_cache()
        self._halves[pack] = pack.halves()
        self._reporter.warn(
            f"out of memory for {len(pack.questions)} questions about the medium of "
            f"{pack.questions[0].id} ({pack.rows} tokens); asking half of them at a time"
        )
