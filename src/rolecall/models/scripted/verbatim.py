"""An answer exactly as a runner sent it, byte for byte: recorded, or written from its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rolecall.models.scripted.events import encode

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Verbatim:
    """One HTTP answer in a runner's own words.

    Attributes:
        body: the whole body; text as it stands, anything else as JSON.
        events: the events of a stream, instead of a body. A mapping is framed as the content type
            wants it (``data: …`` for server-sent events, one line of JSON elsewhere), text is sent
            as it stands.
        piece_bytes: cuts a stream into chunks of so many bytes; by default one event each.
    """

    body: object = None
    events: Sequence[Mapping[str, object] | str] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    piece_bytes: int | None = None

    @property
    def whole(self) -> bytes:
        """The body, when this is no stream."""
        return self.body.encode() if isinstance(self.body, str) else encode(self.body)

    def pieces(self) -> Iterator[bytes]:
        """The stream as it goes on the wire, one HTTP chunk each."""
        framed = [self._framed(event) for event in self.events]
        if self.piece_bytes is None:
            yield from framed
            return
        stream = b"".join(framed)
        for start in range(0, len(stream), self.piece_bytes):
            yield stream[start : start + self.piece_bytes]

    def _framed(self, event: Mapping[str, object] | str) -> bytes:
        if isinstance(event, str):
            return event.encode()
        if not self.content_type.startswith(EVENT_STREAM):
            return encode(event) + b"\n"
        kind = str(event.get("type", ""))
        name = f"event: {kind}\n".encode() if kind.startswith("response.") else b""
        return name + b"data: " + encode(event) + b"\n\n"
