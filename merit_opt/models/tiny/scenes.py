"""Scenes told in words: what a backbone that never saw a pixel learns the order of events from.

A scene is told as sentences, or as frame bags: the same words laid out as the tokens of a video,
four to a position and two bags to an event, so that a vision tower has only to emit them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from merit_opt.data.clips.questions import NUMBERS
from merit_opt.data.clips.scene import Event, Events
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.packing import Prefix

BAGS_PER_EVENT = 2


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A scene as the model reads it.

    Attributes:
        events: What happens, four events.
        prefix: The chat up to the scene's end.
        facts: int64 ``[f, 2]``: a place in the prefix, and a word that the model should know of
            the token there once the first layers have read it: the event's colour and number.
        before: The same for the colour of the event before.
    """

    events: Events
    prefix: Prefix
    facts: Tensor
    before: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Teller:
    """Tells scenes in a writer's words.

    Attributes:
        writer: Whose words and chat.
        video: The prefix of a clip; bags have its positions.
    """

    writer: Writer
    video: Prefix

    def bags(self, events: Events) -> Scene:
        """Laid out as a clip of these events."""
        return self._scene(events, BAGS_PER_EVENT, self.video.positions, self.video.resume)

    def sentences(self, events: Events) -> Scene:
        """As plain text: every token has the next position."""
        tokens = len(self.writer.opening) - 1 + sum(len(said(event)) for event in events)
        return self._scene(events, 1, torch.arange(tokens).expand(3, -1), tokens)

    def _scene(self, events: Events, repeats: int, positions: Tensor, resume: int) -> Scene:
        opening, start = self.writer.opening, self.video.video.start
        words = [(e, word) for e, event in enumerate(events) for word in repeats * said(event)]
        told = self.writer.ids(word for _, word in words)
        ids = torch.tensor([*opening[:start], *told, *opening[start + 1 :]])
        video = slice(start, start + len(words))
        places = [(place, event) for place, (event, _) in enumerate(words, start)]
        facts = [
            (place, fact)
            for place, event in places
            for fact in self.writer.ids((events[event].colour, NUMBERS[event]))
        ]
        before = [
            (place, self.writer.vocabulary[events[event - 1].colour])
            for place, event in places
            if event > 0
        ]
        prefix = Prefix(ids, positions, video, resume)
        return Scene(events, prefix, _pairs(facts), _pairs(before))


def said(event: Event) -> list[str]:
    """An event in words, as it stands in one video frame."""
    return [event.colour, event.shape, event.action, "."]


def _pairs(found: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(found, dtype=torch.long).view(-1, 2)
