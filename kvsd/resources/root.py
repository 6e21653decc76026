"""The root of all paths: mounts the nouns, each under its own first segment."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.resources.desk import Desk
from kvsd.resources.door import RequestLimits, answer, not_found
from kvsd.resources.health import Health
from kvsd.resources.kvs import KeyPath, Keys
from kvsd.resources.lane import Lane
from kvsd.resources.operations import Operations
from kvsd.resources.peer import Peers
from kvsd.resources.places import Places
from kvsd.resources.shard import Shards
from kvsd.resources.site import BoundedSite
from kvsd.resources.view import View

__all__ = ["RequestLimits", "Root", "make_site"]


_NO_METHOD: Final = b"?"


class Root(Resource):
    """
    Hands each request on by the first segments of its path; what it does not know is not found.

    Klein gets the segments percent-encoded anew: it would answer what is not UTF-8 in a way of its own.
    """

    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, nouns: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._nouns = nouns

    def render(self, request: Request) -> object:
        """Have a request answered."""
        segments = [unquote_to_bytes(segment) for segment in request.path[1:].split(b"/")]
        noun = self._nouns.get(b"/".join(segments[:2])) or self._nouns.get(segments[0])
        if noun is None:
            return answer(request, not_found())
        request.postpath = [quote(segment, safe="").encode() for segment in segments]
        method = request.method
        if method.isupper():
            return noun.render(request)
        request.method = _NO_METHOD  # Klein would take "put" for PUT
        try:
            return noun.render(request)
        finally:
            request.method = method


def make_site(
    node: Node,
    metrics: Metrics,
    limits: RequestLimits,
    clock: IReactorTime,
    *,
    access_log: bool = False,
    lane: bool = True,
) -> BoundedSite:
    """
    All that a node answers over HTTP; the metrics show the node's status from now on.

    Without its ``lane`` it answers the same, more slowly.
    """
    metrics.watch(node.insight.status)
    health = Health(node, metrics).app.resource()
    desk = Desk(node, metrics, limits, clock)
    nouns: dict[bytes, IResource] = {
        b"kvs": KeyPath(Keys(desk).app),
        b"view": View(node, limits).app.resource(),
        b"shard": Shards(node, limits).app.resource(),
        b"kvsd": Operations(node, limits).app.resource(),
        b"kvsd/i": Peers(node, limits).app.resource(),
        b"healthz": health,
        b"readyz": health,
        b"metrics": health,
    }
    places = Places(node.budget, clock)
    site = BoundedSite(Root(nouns), limits, clock, places, access_log=access_log)
    metrics.show(
        "kvsd_body_bytes",
        "Bytes of large request bodies in arrival, under way, waiting, forwarded or held for an acknowledgement.",
        lambda: node.budget.used_bytes,
    )
    metrics.show("kvsd_connections", "Connections of clients and peers that are open.", lambda: site.admission.open)
    if lane:
        site.protocol = Lane(desk, clock, places).channel  # type: ignore[assignment]
    return site
