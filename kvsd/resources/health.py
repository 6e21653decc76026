"""``/healthz``, ``/readyz`` and ``/metrics``: for those who watch over the node."""

from twisted.web.server import Request

from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.resources.door import RETRY_AFTER, Reply, answer, json_reply, new_app


class Health:
    """The routes for probes and for Prometheus."""

    app = new_app()

    def __init__(self, node: Node, metrics: Metrics) -> None:
        self._node = node
        self._metrics = metrics

    @app.route("/healthz", methods=["GET"])
    def alive(self, request: Request) -> bytes:
        """The process runs and answers; if this fails, starting it anew may help."""
        return answer(request, json_reply(200, {"status": "alive"}))

    @app.route("/readyz", methods=["GET"])
    def ready(self, request: Request) -> bytes:
        """
        Whether the node can serve, and if it can't, why; starting it anew would not help.

        Members that stay behind are named, too: they serve what does not depend on what they lack.  A node that serves
        without having heard all others since its start says so.
        """
        insight = self._node.insight
        reasons = insight.unready()
        told = {"behind": insight.behind(), "alone": insight.alone()}
        more = {name: what for name, what in told.items() if what}
        if reasons:
            fields = {"error": "Node is not ready", "reasons": reasons, **more}
            return answer(request, json_reply(503, fields, RETRY_AFTER))
        return answer(request, json_reply(200, {"status": "ready", **more}))

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Request) -> bytes:
        """The metrics, for Prometheus."""
        metrics = self._metrics
        return answer(request, Reply(200, metrics.exposition(), content_type=metrics.content_type.encode()))
