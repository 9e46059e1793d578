"""Both directions of one connection: messages in, bytes out, and the other way round."""

from __future__ import annotations

from fastes.executors.tcp.auth import Keys, Seal, Side
from fastes.executors.tcp.frames import Buffer, FrameReader, encode_frame
from fastes.executors.tcp.limits import RunNumbers
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import Message, Phase, caps, packed, unpacked


class Decoder:
    """From bytes, in pieces of any length, to the messages that `sender` may send at this point.

    After its one ProtocolError it is dead and takes no notice of anything.
    """

    def __init__(self, sender: Side) -> None:
        self._sender = sender
        self._reader = FrameReader(caps(sender, Phase.HELLO))
        self.dead = False

    def enter(self, phase: Phase, numbers: RunNumbers | None = None, keys: Keys | None = None) -> None:
        """What comes after the messages taken so far is of this phase; sealed from here on if there are `keys`."""
        self._reader.caps = caps(self._sender, phase, numbers)
        if keys is not None:
            self._reader.seal = keys.seal(self._sender)

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not whole yet."""
        return self._reader.waiting

    def push(self, data: Buffer) -> None:
        """Takes what was read, for `next`."""
        if not self.dead:
            self._reader.push(data)

    def next(self) -> Message | None:
        """The next message, None if it is not whole yet. Raises ProtocolError, once."""
        if self.dead:
            return None
        try:
            frame = self._reader.next()
            return None if frame is None else unpacked(frame.type, frame.payload)
        except ProtocolError:
            self.kill()
            raise

    def kill(self) -> None:
        """Nothing more is taken: somebody else has found a fault in the connection."""
        self.dead = True
        self._reader.drop()

    def feed(self, data: Buffer) -> list[Message]:
        """All messages that are whole with these bytes. Raises ProtocolError, once: those before the fault are lost
        with it, as the connection is.
        """
        self.push(data)
        messages = []
        while (message := self.next()) is not None:
            messages.append(message)
        return messages

    def end(self) -> None:
        """The connection was closed. Raises ProtocolError if that cut a message off."""
        if not self.dead and self.waiting:
            waiting = self.waiting
            self.kill()
            raise ProtocolError(Code.CUT, f"the connection ended {waiting} bytes into a frame.")


class Encoder:
    """From messages that `sender` sends to bytes."""

    def __init__(self, sender: Side) -> None:
        self._sender = sender
        self._seal: Seal | None = None

    def seal(self, keys: Keys) -> None:
        """Frames are sealed from here on."""
        self._seal = keys.seal(self._sender)

    def encode(self, message: Message) -> bytes:
        """The next frame. Each has to be sent, in this order."""
        return self.encode_packed(message.TYPE, packed(message))

    def encode_packed(self, kind: int, payload: Buffer) -> bytes:
        """The same of a message that was `packed` once for many connections."""
        return encode_frame(kind, payload, self._seal)
