"""
A small network of its own for every node: Linux network namespaces, cables between them, and a pair of scissors.

Each node lives in a namespace of its own and has two cables.  One goes to a switch over which the nodes speak with
each other (10.77.0.1, 10.77.0.2, …); that switch stands in a namespace too, where no packet filter of this machine
reaches it.  The other goes to this machine, so that a client can speak with a node that its peers can't reach.
Cutting a cable takes it out of the switch: packets vanish without any error, as they do when a real link fails.

All names and the client's subnet are derived from the number of this process, so two test runs don't meet.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

PORT = 8090


def ip(*arguments: str) -> None:
    """Run the ip command; raises OSError with what it had to say."""
    ended = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {ended.stderr.strip()}")


def tc(namespace: str, *arguments: str) -> None:
    """Run the tc command in a namespace; raises OSError with what it had to say."""
    ended = subprocess.run(["tc", "-n", namespace, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OSError(f"tc {' '.join(arguments)}: {ended.stderr.strip()}")


def why_not() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    if shutil.which("ip") is None:
        return "there is no ip command (iproute2)"
    trial = f"kvsd{os.getpid()}try"
    try:
        ip("netns", "add", trial)
        ip("netns", "delete", trial)
    except OSError as error:
        return f"network namespaces can't be made here: {error}"
    return ""


class Network:
    """So many nodes on one switch; ``add_cleanup`` is told what has to be undone, as each thing is made."""

    def __init__(self, nodes: int, add_cleanup: Callable[..., object]) -> None:
        self._add_cleanup = add_cleanup
        self._name = f"kv{os.getpid()}"
        self._client_net = f"10.78.{os.getpid() % 256}"
        self._switch = f"{self._name}sw"
        self.addresses = [f"10.77.0.{number}:{PORT}" for number in range(1, nodes + 1)]
        self._make_switches()
        for number in range(1, nodes + 1):
            self._make_node(number)

    def command_for(self, address: str) -> Sequence[str]:
        """What goes before a command to run it where this node lives."""
        return "ip", "netns", "exec", self._node(self._number(address))

    def door(self, address: str) -> str:
        """Where a client on this machine reaches the node, whatever happens to its link to its peers."""
        return f"{self._client_net}.{self._number(address)}:{PORT}"

    def cut(self, address: str) -> None:
        """Take a node's cable out of the switch."""
        ip("-n", self._switch, "link", "set", f"peer{self._number(address)}", "nomaster")

    def heal(self, address: str) -> None:
        """Put the cable back."""
        ip("-n", self._switch, "link", "set", f"peer{self._number(address)}", "master", "switch")

    def narrow(self, address: str, rate: str) -> None:
        """
        Let a node's cable carry only so much (as tc has it: ``4mbit``), there and back.

        Raises OSError where this machine can't.
        """
        number = self._number(address)
        for namespace, device in ((self._node(number), "peers"), (self._switch, f"peer{number}")):
            tc(
                namespace,
                "qdisc",
                "add",
                "dev",
                device,
                "root",
                "tbf",
                "rate",
                rate,
                "burst",
                "16kb",
                "latency",
                "100ms",
            )

    def _number(self, address: str) -> int:
        return int(address.partition(":")[0].rpartition(".")[2])

    def _node(self, number: int) -> str:
        return f"{self._name}n{number}"

    def _make_namespace(self, name: str) -> None:
        ip("netns", "add", name)
        self._add_cleanup(ip, "netns", "delete", name)
        ip("-n", name, "link", "set", "lo", "up")

    def _make_switches(self) -> None:
        """The switch between the nodes, and the one to which this machine's client is connected."""
        self._make_namespace(self._switch)
        ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        ip("-n", self._switch, "link", "set", "switch", "up")
        bridge = f"{self._name}br"
        ip("link", "add", bridge, "type", "bridge")
        self._add_cleanup(ip, "link", "delete", bridge)
        ip("address", "add", f"{self._client_net}.254/24", "dev", bridge)
        ip("link", "set", bridge, "up")

    def _make_node(self, number: int) -> None:
        """A namespace with a cable to each of the two switches."""
        node, client = self._node(number), f"{self._name}c{number}"
        self._make_namespace(node)
        ip("-n", node, "link", "add", "peers", "type", "veth", "peer", "name", f"peer{number}", "netns", self._switch)
        ip("-n", self._switch, "link", "set", f"peer{number}", "master", "switch", "up")
        ip("-n", node, "address", "add", f"10.77.0.{number}/24", "dev", "peers")
        ip("link", "add", client, "type", "veth", "peer", "name", "client", "netns", node)
        # A namespace is taken down in the background, and its cables with it; the next test wants the name at once.
        self._add_cleanup(ip, "link", "delete", client)
        ip("link", "set", client, "master", f"{self._name}br", "up")
        ip("-n", node, "address", "add", f"{self._client_net}.{number}/24", "dev", "client")
        for cable in ("peers", "client"):
            ip("-n", node, "link", "set", cable, "up")
