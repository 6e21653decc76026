"""Where nodes listen by default: on loopback alone where they are named by it, on IPv6 where their address is one."""

import socket
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from kvsd.local.cluster import get_json
from tests.acceptance.clusters import cluster_for, first_free_port


def is_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


class ListeningTests(SynchronousTestCase):
    """Nodes that were not told where to listen."""

    def test_loopback_stays_on_loopback(self) -> None:
        """A node that is named by a loopback address can be reached at that address alone."""
        port = first_free_port(2)
        cluster_for(self, 2, 1, addresses=[f"127.0.0.1:{port}", f"127.0.0.2:{port + 1}"])
        reached = [is_open(f"127.0.0.{host}", port + node) for node in (0, 1) for host in (1, 2)]
        self.assertEqual([True, False, False, True], reached)

    def test_ipv6(self) -> None:
        """Nodes with IPv6 addresses listen there, and speak with each other."""
        port = first_free_port(2)
        try:
            socket.create_server(("::1", port), family=socket.AF_INET6).close()
        except OSError as error:
            raise SkipTest("no IPv6 here") from error
        addresses = [f"[::1]:{port}", f"[::1]:{port + 1}"]
        cluster_for(self, 2, 1, addresses=addresses)
        self.assertEqual((200, {"view": addresses}), get_json(addresses[1], "/view"))
        self.assertFalse(is_open("127.0.0.1", port))
