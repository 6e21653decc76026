"""What tests of a cluster without nodes ask of it again and again."""

from twisted.trial.unittest import SynchronousTestCase

from kvsd.replication.configuration import Configuration
from kvsd.replication.requests import Outcome, Request
from tests.pure import ADDRESSES, PureCluster


class PureCase(SynchronousTestCase):
    """A cluster, which each case founds as it needs it; where nothing else is said, its first node is asked."""

    cluster: PureCluster

    def configuration(self, at: str = ADDRESSES[0]) -> Configuration:
        """The configuration that a node goes by."""
        configuration = self.cluster.sites[at].replica.state.configuration
        assert configuration is not None
        return configuration

    def outcome(self, request: Request, at: str = ADDRESSES[0], seconds: float = 5.0) -> Outcome | None:
        """What a node answers within some seconds, all of which pass."""
        ticket = self.cluster.submit(at, request)
        self.cluster.run(seconds)
        return self.cluster.sites[at].outcomes.get(ticket)

    def crash(self, *addresses: str, seconds: float = 6.0) -> None:
        """Kill nodes, and let some time pass: if nothing else is said, enough for them to be given up by force."""
        for address in addresses:
            self.cluster.crash(address)
        self.cluster.run(seconds)
