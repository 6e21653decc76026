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
from kvsd.replication.occupant import Boot
from kvsd.replication.seal import Seal
from kvsd.replication.token import Epoch

TAG_BYTES = 16
UNSEALED = "the message was not made under this cluster's secret"
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder may raise: for the wrong shape, for text that is not UTF-8, for nesting without end."""


class WireError(ValueError):
    """Bytes that no node of this cluster wrote, or that were damaged; the text says how."""


class OtherSecret(WireError):
    """An envelope that was made under another secret, or damaged on its way; ``sender`` is whom it names as its sender."""

    def __init__(self, sender: str) -> None:
        super().__init__(UNSEALED)
        self.sender = sender


class Envelope(Struct, frozen=True, array_like=True):
    """What one POST carries: who says what to whom, and on which configuration."""

    cluster: str
    epoch: Epoch
    sender: str
    instance: Instance
    receiver: str
    messages: list[Message]
    branch: Branch = b""
    boot: Boot = 0


class _Claim(Struct, frozen=True, array_like=True):
    """What an envelope says of itself; its messages stay unread."""

    cluster: str
    epoch: Epoch
    sender: str
    instance: Instance
    receiver: str
    messages: msgspec.Raw
    branch: Branch = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_claim = msgspec.msgpack.Decoder(_Claim).decode
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
        cluster, epoch, branch = sender.cluster, sender.epoch, sender.branch
        body = _encode((cluster, epoch, sender.address, sender.instance, receiver, raws, branch, sender.boot))
        return self._tag(body) + body

    def decode(self, raw: bytes, receiver: str) -> tuple[Sender, list[Message]]:
        """
        Who sent an envelope, and what it says.

        Raises WireError where it was not made under this secret, or not for this receiver; OtherSecret where a node
        made it for this receiver under another secret, as far as that can be told.
        """
        tag, body = raw[:TAG_BYTES], raw[TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(body)):
            raise _not_ours(body, receiver)
        try:
            envelope = _decode_envelope(body)
        except UNREADABLE as error:
            raise WireError(f"the message can't be read: {error}") from None
        if envelope.receiver != receiver:
            raise WireError(f"the message is for {envelope.receiver}, this is {receiver}")
        if fault := address_fault(envelope.sender):
            raise WireError(f"the sender's name {envelope.sender!r:.80} {fault}")
        of = envelope
        return Sender(of.sender, of.instance, of.cluster, of.epoch, of.branch, of.boot), of.messages


def _not_ours(body: bytes, receiver: str) -> WireError:
    """Return what is wrong with an envelope under a wrong tag, of which nothing may be believed."""
    try:
        claim = _decode_claim(body)
    except UNREADABLE:
        return WireError(UNSEALED)
    if claim.receiver != receiver or address_fault(claim.sender):
        return WireError(UNSEALED)
    return OtherSecret(claim.sender)
