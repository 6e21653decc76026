"""
A node as a service: opens its disk, finds out what it is, starts to listen; and ends in the reverse order.
"""

import gc
import os
import secrets
import signal
import time
from enum import IntEnum

from twisted.application.service import Service
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from kvsd.claim import BOOT_BITS, claim, row_table
from kvsd.log_stream import dropped_log_lines, say_last
from kvsd.metrics import Metrics
from kvsd.node import Node
from kvsd.ports import Storage, StorageBusy, StorageError
from kvsd.process_limits import raise_file_limit, settle_allocator
from kvsd.replication.limits import Limits
from kvsd.replication.replica import Replica
from kvsd.resources.admission import Admission
from kvsd.resources.root import RequestLimits, make_site
from kvsd.resources.site import BoundedSite
from kvsd.settings import Settings, with_backlog
from kvsd.storage.datadir import read_boot_id
from kvsd.storage.memory_storage import MemoryStorage
from kvsd.storage.rocks_storage import RocksStorage, Verifying
from kvsd.transport import TreqTransport
from kvsd.wire import WireError

LAST_CALL_SECONDS = 1.0
"""How long, once no connection is taken any more, requests are still served that were on their way."""
STOP_PATIENCE_SECONDS = 4.0

COLLECT_AFTER_ALLOCATIONS = 20_000
"""By default Python collects after 700 containers more than were let go of."""

_log = Logger()


class ExitStatus(IntEnum):
    """What the end of a node says to whoever may start it again; those above 1 have their names in sysexits.h."""

    BAD_SETTING = 1
    START_AGAIN = 75
    """EX_TEMPFAIL: the next start may succeed."""
    NEVER_LIKE_THIS = 78
    """EX_CONFIG: with the same data and settings the next start comes to the same end."""


class StartError(Exception):
    """A node can't be started; the text is one line that says why, ``status`` what the next start would come to."""

    def __init__(self, text: str, status: ExitStatus = ExitStatus.BAD_SETTING) -> None:
        super().__init__(text)
        self.status = status


class NodeService(Service):
    """Runs one node from the start of the reactor to its end."""

    name = "kvsd"

    def __init__(self, settings: Settings, reactor: ReactorBase, *, daemon: bool = False) -> None:
        self._settings = settings
        self._reactor = reactor
        self._daemon = daemon
        self._metrics = Metrics()
        self._metrics.count(
            "kvsd_log_lines_dropped", "Lines of the log that were dropped, as nobody read them.", dropped_log_lines
        )
        self._node: Node | None = None
        self._port: IListeningPort | None = None
        self._site: BoundedSite | None = None
        self._refused = ""

    def startService(self) -> None:
        """
        Start the node; what can't be started ends the process with one line on standard error and an ExitStatus.

        A daemon has no standard error any more: there StartError is raised, which twistd hands to its parent for that.
        """
        super().startService()
        self._reactor.callWhenRunning(end_with_status_0_on_sigterm, self._reactor)
        try:
            self._begin()
        except (StartError, StorageError, WireError) as error:
            status = exit_status_of(error)
            if self._daemon:
                raise StartError(str(error), status) from None
            crash(str(error), status)

    def _begin(self) -> None:
        settings = self._settings
        settle_allocator()
        try:
            endpoint = serverFromString(self._reactor, with_backlog(settings.listen))
        except (ValueError, TypeError, LookupError, OSError) as error:
            raise StartError(f"KVSD_LISTEN is malformed: {settings.listen!r}: {error}") from None
        self._node = self._start_node(self._open_storage())
        site = self._site = make_site(self._node, self._metrics, self._request_limits(), self._reactor)
        endpoint.listen(site).addCallbacks(self._listening, self._not_listening, (site.admission,))
        if self._refused:
            raise StartError(self._refused, ExitStatus.START_AGAIN)

    def stopService(self) -> Deferred[None]:
        """Stop to listen, answer what was asked, make everything durable and let go of the disk."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._port:
            await maybeDeferred(self._port.stopListening)
            if self._site:
                self._site.drain()
            await deferLater(self._reactor, LAST_CALL_SECONDS)
        if self._node:
            await self._node.stop(STOP_PATIENCE_SECONDS)
        await deferLater(self._reactor, 0)  # the last answers leave

    # Parts

    def _open_storage(self) -> Storage:
        settings = self._settings
        if settings.data_dir is None:
            _log.warn("no data directory: what is stored is lost when the process ends")
            return MemoryStorage()
        if not settings.fsync:
            _log.warn("no fsync: a power failure may lose what was acknowledged")
        return RocksStorage(
            settings.data_dir,
            self._reactor,
            boot_id=read_boot_id(),
            fsync=settings.fsync,
            cache_bytes=settings.cache_bytes // 2,
            observe=self._metrics.observe_commit,
            verifying=Verifying(
                settings.verify_rate, self._metrics.observe_verified, lambda why: halt(f"the node stops: {why}")
            ),
        )

    def _start_node(self, storage: Storage) -> Node:
        settings = self._settings
        identity, state = claim(storage, settings.address, os.urandom(16), secrets.randbits(BOOT_BITS), crash)
        if settings.flaw and state.configuration is None:
            raise StartError(settings.flaw)
        if not settings.secret:
            _log.warn("no secret: anybody who reaches this port can pose as a node (set KVSD_SECRET)")
        replica = Replica(identity, _limits(settings), row_table(storage))
        transport = TreqTransport(self._reactor)
        node = Node(
            replica,
            self._reactor,
            wall_ms,
            storage,
            transport,
            settings.secret,
            crash,
            self._metrics.observe_post,
            halt,
        )
        if settings.founding and len(settings.view) == 1:
            _log.warn("a cluster of one node: nothing that is stored has a second copy")
        node.start(replica.start(state, settings.founding, settings.view, node.now()))
        return node

    def _request_limits(self) -> RequestLimits:
        return RequestLimits(
            max_key_length=self._settings.max_key_length,
            max_body_bytes=self._settings.max_body_bytes,
            concern=self._settings.write_concern,
            max_connections=self._settings.max_connections,
            open_files=raise_file_limit(),
        )

    def _listening(self, port: IListeningPort, admission: Admission) -> None:
        self._port = port
        admission.watch(port)
        settle_garbage_collection()
        _log.info("listening at {where} as {address}", where=self._settings.listen, address=self._settings.address)

    def _not_listening(self, failure: Failure) -> None:
        self._refused = f"can't listen at {self._settings.listen}: {failure.getErrorMessage()}"


def _limits(settings: Settings) -> Limits:
    concern = settings.write_concern
    return Limits(
        cache_bytes=settings.cache_bytes // 2,
        may_force=settings.may_force,
        alone_seconds=settings.alone_seconds,
        least_members=concern if isinstance(concern, int) else 1,
        body_bytes=settings.body_budget_bytes,
        waiter_bytes=settings.body_budget_bytes // 4,
    )


def settle_garbage_collection() -> None:
    """
    Leave what is there by now out of all later collections, and collect less often.

    Modules, routes and the rows that were read from the disk stay; to look through them again and again held up whatever
    request was unlucky.  Requests leave next to no cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_ALLOCATIONS, *gc.get_threshold()[1:])


def wall_ms() -> int:
    """The clock on the wall, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def exit_status_of(error: StartError | StorageError | WireError) -> ExitStatus:
    """Return what a start that failed says of the next one: data that can't be read stays so."""
    match error:
        case StartError():
            return error.status
        case StorageBusy():
            return ExitStatus.START_AGAIN
        case StorageError() | WireError():
            return ExitStatus.NEVER_LIKE_THIS


def crash(reason: str, status: ExitStatus = ExitStatus.START_AGAIN) -> None:
    """Stop at once: nothing may leave a node that can't keep its promises.  Says why on standard error."""
    _log.critical("{reason}", reason=reason)
    say_last(f"kvsd: {reason}")  # sys.stderr belongs to the log by now
    os._exit(status)


def halt(reason: str) -> None:
    """Stop at once, as another start with the same data would come to the same end."""
    crash(reason, ExitStatus.NEVER_LIKE_THIS)


def end_with_status_0_on_sigterm(reactor: ReactorBase) -> None:
    """Make an orderly end an orderly exit status: by default twistd ends itself with the signal in the end."""
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(reactor.stop))
