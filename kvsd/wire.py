"""
Messages as bytes, and back with every byte checked.

What nodes POST to each other is an *envelope*: a tag of 16 bytes (HMAC-SHA256 under the cluster's secret), then
msgpack.
"""

import hmac

import msgspec
from msgspec import Struct

from kvsd.replication.messages import Branch, Instance, Message, Sender
from kvsd.replication.node_address import address_fault
from kvsd.replication.seal import Seal
from kvsd.replication.token import Epoch

TAG_BYTES = 16
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder may raise: for the wrong shape, for text that is not UTF-8, for nesting without end."""


class WireError(ValueError):
    """Bytes that no node of this cluster wrote, or that were damaged; the text says how."""


class Envelope(Struct, frozen=True, array_like=True):
    """What one POST carries: who says what to whom, and on which configuration."""

    cluster: str
    epoch: Epoch
    sender: str
    instance: Instance
    receiver: str
    messages: list[Message]
    branch: Branch = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


def encode_message(message: Message) -> bytes:
    """A message's bytes, to be put into any number of envelopes."""
    return _encode(message)


class EnvelopeCodec:
    """Envelopes as bytes and back, under the cluster's secret."""

    def __init__(self, secret: bytes) -> None:
        self._tag = Seal(hmac.digest(secret, b"kvsd envelope", "sha256"), TAG_BYTES).tag

    def encode(self, sender: Sender, receiver: str, messages: list[bytes]) -> bytes:
        """The bytes of an envelope with messages that are encoded already."""
        raws = [msgspec.Raw(message) for message in messages]
        body = _encode((sender.cluster, sender.epoch, sender.address, sender.instance, receiver, raws, sender.branch))
        return self._tag(body) + body

    def decode(self, raw: bytes, receiver: str) -> tuple[Sender, list[Message]]:
        """
        Who sent an envelope, and what it says.

        Raises WireError where it was not made under this secret, or not for this receiver.
        """
        tag, body = raw[:TAG_BYTES], raw[TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(body)):
            raise WireError("the message was not made under this cluster's secret")
        try:
            envelope = _decode_envelope(body)
        except UNREADABLE as error:
            raise WireError(f"the message can't be read: {error}") from None
        if envelope.receiver != receiver:
            raise WireError(f"the message is for {envelope.receiver}, this is {receiver}")
        if fault := address_fault(envelope.sender):
            raise WireError(f"the sender's name {envelope.sender!r:.80} {fault}")
        sender = Sender(envelope.sender, envelope.instance, envelope.cluster, envelope.epoch, envelope.branch)
        return sender, envelope.messages
