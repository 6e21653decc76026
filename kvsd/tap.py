"""
The roof: options and environment in, one service out.
"""

import os
import sys
import time
from importlib.metadata import version

from twisted.application.service import IService
from twisted.internet.base import ReactorBase
from twisted.python import usage

from kvsd.log_stream import make_standard_output_lossy
from kvsd.service import NodeService
from kvsd.settings import Settings, SettingsError, read_settings

EXAMPLE = """\
Required are --socket-address and --view, or SOCKET_ADDRESS and VIEW in the environment; an option wins. The first nodes
of a cluster need --shard-count as well, the same at all of them. twistd's own options stand before the word kvsd.

Two nodes, each to be started in a terminal of its own:
  twistd --nodaemon --pidfile= kvsd --socket-address=127.0.0.1:8090 --view=127.0.0.1:8090,127.0.0.1:8091 \\
    --shard-count=1 --data-dir=data-8090
  twistd --nodaemon --pidfile= kvsd --socket-address=127.0.0.1:8091 --view=127.0.0.1:8090,127.0.0.1:8091 \\
    --shard-count=1 --data-dir=data-8091
"""
UMASK = 0o077
"""What others may not do with the files of a node, unless twistd's own --umask says otherwise."""


class Options(usage.Options):
    """The options of ``twistd kvsd``; what is not given is taken from the environment."""

    synopsis = "--socket-address=IP:PORT --view=IP:PORT,… [options]"
    optParameters = [  # noqa: RUF012 (the framework's way to declare options)
        ["socket-address", None, None, "Required: this node's own IP:PORT, its name in the cluster (SOCKET_ADDRESS)."],
        ["view", None, None, "Required: the IP:PORT of all nodes known at start, separated by commas (VIEW)."],
        ["shard-count", None, None, "The number of shards; for the founding nodes only (SHARD_COUNT)."],
        ["data-dir", None, None, "Where the data is kept; without it, in memory only (KVSD_DATA_DIR)."],
        [
            "listen",
            None,
            None,
            "The endpoint to listen at; by default the port, on all interfaces or on loopback (KVSD_LISTEN).",
        ],
        ["secret-file", None, None, "A file with the cluster's secret, instead of KVSD_SECRET (KVSD_SECRET_FILE)."],
        ["max-key-length", None, None, "The longest key, in characters (50)."],
        ["write-concern", None, None, "Replicas to have a write where nothing is asked: 1, 2, …, majority, all (1)."],
        ["max-body-bytes", None, None, "The largest request body, in bytes (1048576)."],
        ["force", None, None, "Who may have nodes given up where no majority is left: operator, or never (operator)."],
        [
            "alone-after",
            None,
            None,
            "Seconds after a restart to wait for silent nodes, or never (KVSD_ALONE_AFTER; 3).",
        ],
        ["max-connections", None, None, "How many connections may be open at once (KVSD_MAX_CONNECTIONS; 10000)."],
        ["body-budget-bytes", None, None, "Memory for bodies under way, in bytes (KVSD_BODY_BUDGET_BYTES; 268435456)."],
        ["verify-rate", None, None, "Bytes of data to verify a second, 0 for none (KVSD_VERIFY_RATE; 524288)."],
        ["cache-bytes", None, None, "Memory for what was read from the disk, in bytes (67108864)."],
    ]
    optFlags = [  # noqa: RUF012 (the framework's way to declare options)
        ["no-fsync", None, "Don't wait for the disk: a power failure may lose what was acknowledged."],
    ]

    settings: Settings

    def getUsage(self, width: int | None = None) -> str:  # noqa: N802 (the framework's name)
        """Return the text of ``--help``: the options, which of them are required, and an example."""
        return f"{super().getUsage(width)}\n{EXAMPLE}"

    def opt_version(self) -> None:
        """Display the version of kvsd and exit."""
        sys.stdout.write(f"kvsd {version('kvsd')}\n")
        raise SystemExit(0)

    def opt_fsync(self) -> None:
        """Wait for the disk before anything is acknowledged (the default)."""
        self["no-fsync"] = 0

    def parseOptions(self, options: object = None) -> None:
        """Parse; a bad setting ends the process with one line on standard error and status 1."""
        try:
            super().parseOptions(options)
            self.settings = read_settings(self, os.environ)
        except (usage.UsageError, SettingsError) as error:
            raise SystemExit(f"kvsd: {error}") from None


def makeService(options: Options) -> IService:
    """The service that runs a node with these options."""
    from twisted.internet import reactor

    assert isinstance(reactor, ReactorBase)
    # Timers go by a clock that never jumps: by default a reactor takes the clock on the wall for that.
    reactor.seconds = time.monotonic
    daemon = options.parent is not None and not options.parent.get("nodaemon")
    if options.parent is None or options.parent.get("umask") is None:
        os.umask(UMASK)
    if not daemon:  # a daemon has no standard output, and threads don't outlive the fork that makes one
        reactor.addSystemEventTrigger("after", "shutdown", make_standard_output_lossy().end)
    return NodeService(options.settings, reactor, daemon=daemon)
