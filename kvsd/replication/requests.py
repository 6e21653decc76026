"""
What clients ask of a store, and what they are answered.

Everything here is a plain value.  What is expected (a missing key, an unmet cause, a shard out of reach) is an
outcome, not an exception.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kvsd.replication.basis import Basis, Confirm, Confirmed
from kvsd.replication.record import RequestId
from kvsd.replication.token import Stamp, Token

Seconds = Annotated[float, Meta(ge=0, le=3600)]
MAX_DIGITS = 9
Concern = Annotated[int, Meta(ge=1, lt=10**MAX_DIGITS)] | Literal["majority", "all"]
"""How many members of a shard are to have a write on disk before it is acknowledged."""
NO_CONCERN = 'w must be a whole number from 1, "majority" or "all"'


def read_concern(text: str) -> Concern:
    """A write concern from its text.  Raises ValueError, with a sentence for people."""
    match text:
        case "majority" | "all":
            return text
        case _ if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS and int(text) >= 1:
            return int(text)
        case _:
            raise ValueError(NO_CONCERN)


class Get(Struct, frozen=True, array_like=True, tag=True):
    """Read a key, waiting up to some seconds for what token depends on."""

    key: str
    token: Token
    wait: Seconds = 0


class Put(Struct, frozen=True, array_like=True, tag=True):
    """
    Write JSON text to a key, or delete it (value None).

    ``request`` is the id by which a retry is recognised, empty for none.  ``stamp`` is what the version is stamped with
    (0: whoever carries it out draws one).  A write that is forwarded has its stamp drawn before the first try: however
    often it is carried out, and however late, it is the same version, and can't undo what came after it.  ``tried``
    says that an earlier try may have succeeded.  ``concern`` is how many replicas are to have it before it is
    acknowledged, ``within`` for how long that may take (None: as long as is usual).  ``capped`` says that a number of
    replicas larger than the shard counts as all: the client did not ask for it, the node's settings did.
    """

    key: str
    value: bytes | None
    token: Token
    wait: Seconds = 0
    request: RequestId = ""
    stamp: Stamp = 0
    tried: bool = False
    concern: Concern = 1
    within: Seconds | None = None
    capped: bool = False


class CountKeys(Struct, frozen=True, array_like=True, tag=True):
    """Count the live keys of a shard; or of some slots, of a tenure that may not be in force yet."""

    shard: str
    slots: tuple[int, ...] | None = None
    tenure: int | None = None


class AddNode(Struct, frozen=True, array_like=True, tag=True):
    """Add a node to the cluster."""

    address: str


class RemoveNode(Struct, frozen=True, array_like=True, tag=True):
    """Remove a node from the cluster and from its shard; it may come back."""

    address: str


class ForgetNode(Struct, frozen=True, array_like=True, tag=True):
    """Go on without a node that is down and will never come back; what only it had is lost."""

    address: str


class GiveUp(Struct, frozen=True, array_like=True, tag=True):
    """
    Go on without all nodes that are silent, though no majority of the voters is left: their disks are gone for good.

    All of them must be named.
    """

    addresses: tuple[str, ...]


class AddMember(Struct, frozen=True, array_like=True, tag=True):
    """Have a node replicate a shard."""

    shard: str
    address: str


class Reshard(Struct, frozen=True, array_like=True, tag=True):
    """Spread the keys and the live nodes over so many shards; ``wait`` for that, or merely begin."""

    shard_count: int
    wait: bool = True


class AbortReshard(Struct, frozen=True, array_like=True, tag=True):
    """Give up the reshard that is under way."""


KeyRequest = Get | Put
Question = Get | Put | CountKeys
"""What nodes ask each other for their clients."""
Change = AddNode | RemoveNode | ForgetNode | GiveUp | AddMember | Reshard | AbortReshard
"""What changes the configuration."""
Request = (
    Get | Put | Confirm | CountKeys | AddNode | RemoveNode | ForgetNode | GiveUp | AddMember | Reshard | AbortReshard
)


# What they are answered.


class Found(Struct, frozen=True, array_like=True, tag=True):
    """The key's value, as JSON text; with a ``basis`` where it was told by another node and may be told again."""

    shard: str
    token: Token
    value: bytes
    basis: Basis | None = None


class Written(Struct, frozen=True, array_like=True, tag=True):
    """
    The write was carried out; ``existed`` says whether there was a live version before it.

    So many ``replicas`` out of so many are known to have it on disk; 0 ``of`` 0 where nobody asked.
    """

    shard: str
    token: Token
    existed: bool
    replicas: int = 0
    of: int = 0


class Unconfirmed(Struct, frozen=True, array_like=True, tag=True):
    """The write was carried out, and in time fewer replicas than asked for were known to have it."""

    shard: str
    token: Token
    existed: bool
    replicas: int
    of: int


class Absent(Struct, frozen=True, array_like=True, tag=True):
    """The key has no value; nothing was changed.  The ``basis`` is as in Found."""

    shard: str
    token: Token
    basis: Basis | None = None


class MissingWrite(Struct, frozen=True, array_like=True):
    """
    One entry of a token that this replica has not reached.

    ``writer`` is the 6-byte name in hex; ``node`` where it writes, empty where that is not known here; ``held_by``
    the nodes that are known to have the write; ``state`` and ``silent`` how the writer's node is doing and for how
    long (seconds) nothing was heard of it; ``since`` for how long (seconds) this replica has known that it lacks it.
    """

    shard: str
    writer: str
    node: str
    need: int
    have: int
    held_by: list[str]
    state: str
    silent: float | None
    since: float


class Unmet(Struct, frozen=True, array_like=True, tag=True):
    """What the token depends on is not here; ``epoch_needed`` is not 0 where that is a later configuration."""

    shard: str
    missing: list[MissingWrite]
    epoch_needed: int = 0
    epoch: int = 0


class Unavailable(Struct, frozen=True, array_like=True, tag=True):
    """No member of the key's shard can be reached."""

    shard: str


class Unassigned(Struct, frozen=True, array_like=True, tag=True):
    """This node belongs to no shard (yet); the reason in words."""

    reason: str


class Refused(Struct, frozen=True, array_like=True, tag=True):
    """The request can never be carried out; the reason in words."""

    reason: str


class Overloaded(Struct, frozen=True, array_like=True, tag=True):
    """A bound was reached; trying again later helps.  The reason in words."""

    reason: str


class StorageFull(Struct, frozen=True, array_like=True, tag=True):
    """Writes are refused until there is room on the disk again."""


class Counted(Struct, frozen=True, array_like=True, tag=True):
    """The number of live keys, and about how many bytes they take."""

    count: int
    bytes: int = 0


class Changed(Struct, frozen=True, array_like=True, tag=True):
    """The configuration was changed as asked; ``anew`` says that it was not like that already."""

    anew: bool = True


class Begun(Struct, frozen=True, array_like=True, tag=True):
    """What was asked for is under way."""


class Unknown(Struct, frozen=True, array_like=True, tag=True):
    """What the request is about does not exist; the reason in words."""

    reason: str


class Conflict(Struct, frozen=True, array_like=True, tag=True):
    """Another change is under way; the reason in words."""

    reason: str


Outcome = (
    Found
    | Written
    | Unconfirmed
    | Absent
    | Confirmed
    | Unmet
    | Unavailable
    | Unassigned
    | Refused
    | Overloaded
    | StorageFull
    | Counted
    | Changed
    | Begun
    | Unknown
    | Conflict
)


class Outdated(Struct, frozen=True, array_like=True, tag=True):
    """The write's stamp is not larger than one that was seen for its key: it would have no effect."""

    shard: str
    latest: Stamp


Verdict = Outcome | Outdated
"""What becomes of a request at a replica: an outcome, or a reason for the node that forwarded it to change it."""
