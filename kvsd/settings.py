"""
The settings of a node: from options, else from the environment, checked once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.endpoints import quoteStringArgument

from kvsd.replication.configuration import MAX_NODES, Configuration, ConfigurationError, founding_configuration
from kvsd.replication.node_address import address_fault, is_loopback
from kvsd.replication.requests import Concern, read_concern
from kvsd.secret_file import SecretFileError, read_secret_file

BACKLOG = 1024
"""How many connections may wait to be accepted; the kernel may allow fewer."""
DEFAULT_MAX_BODY_BYTES = 1024 * 1024
DEFAULT_MAX_KEY_LENGTH = 50
MAX_CONNECTIONS = "max-connections", "KVSD_MAX_CONNECTIONS"
NO_VIEW: tuple[str, ...] = ()
ALONE_AFTER = "alone-after", "KVSD_ALONE_AFTER"
BODY_BUDGET = "body-budget-bytes", "KVSD_BODY_BUDGET_BYTES"
VERIFY_RATE = "verify-rate", "KVSD_VERIFY_RATE"
DEFAULT_VERIFY_RATE = 512 * 1024
DEFAULT_MAX_CONNECTIONS = 10_000
DEFAULT_BODY_BUDGET_BYTES = 256 * 1024 * 1024
LEAST_BODY_BUDGET_BYTES = 16 * 1024 * 1024
"""The largest message between nodes and the largest body of a client fit in together."""
DEFAULT_CACHE_BYTES = 64 * 1024 * 1024
LARGEST_MAX_BODY_BYTES = 4 * 1024 * 1024
"""What was accepted must fit into a message between nodes."""
DEFAULT_ALONE_SECONDS = 3
MAX_DIGITS = 9
MAX_NUMBER = 10**MAX_DIGITS - 1


class SettingsError(ValueError):
    """A setting that is missing or malformed; the text is one line that names it."""


@dataclass(frozen=True)
class Settings:
    """
    What a node is started with; ``founding`` is the configuration it founds a cluster with, if it is to.

    ``flaw`` says what is wrong with VIEW or SHARD_COUNT, empty where nothing is. A node whose data directory knows a
    configuration uses neither; any other can't start.
    """

    address: str
    view: tuple[str, ...]
    founding: Configuration | None
    data_dir: Path | None
    listen: str
    secret: bytes
    fsync: bool
    max_key_length: int
    max_body_bytes: int
    write_concern: Concern
    cache_bytes: int
    max_connections: int
    body_budget_bytes: int
    may_force: bool
    verify_rate: int
    alone_seconds: float
    flaw: str = ""


def read_settings(options: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Return the settings that options (by long names, None: not given) and the environment make, or raise SettingsError."""

    def given(option: str, variable: str) -> str | None:
        value = options.get(option)
        return str(value) if value is not None else environment.get(variable) or None

    address = _address("SOCKET_ADDRESS", given("socket-address", "SOCKET_ADDRESS"))
    read_log_format(environment)
    data_dir = given("data-dir", "KVSD_DATA_DIR")
    view, founding, flaw = NO_VIEW, None, ""
    try:
        view = _view(given("view", "VIEW"), address)
        founding = _founding(view, given("shard-count", "SHARD_COUNT"))
    except SettingsError as error:
        flaw = str(error)
        if not (data_dir and holds_data(Path(data_dir))):
            raise
    return Settings(
        address=address,
        view=view,
        founding=founding,
        flaw=flaw,
        data_dir=Path(data_dir) if data_dir else None,
        listen=given("listen", "KVSD_LISTEN") or listen_endpoint(address),
        secret=_secret(given("secret-file", "KVSD_SECRET_FILE"), environment.get("KVSD_SECRET", "")),
        fsync=not options.get("no-fsync"),
        max_key_length=_number("max-key-length", given("max-key-length", ""), DEFAULT_MAX_KEY_LENGTH),
        max_body_bytes=_number(
            "max-body-bytes", given("max-body-bytes", ""), DEFAULT_MAX_BODY_BYTES, LARGEST_MAX_BODY_BYTES
        ),
        write_concern=_write_concern(given("write-concern", "")),
        cache_bytes=_number("cache-bytes", given("cache-bytes", ""), DEFAULT_CACHE_BYTES),
        max_connections=_number(MAX_CONNECTIONS[0], given(*MAX_CONNECTIONS), DEFAULT_MAX_CONNECTIONS),
        body_budget_bytes=_number(
            BODY_BUDGET[0], given(*BODY_BUDGET), DEFAULT_BODY_BUDGET_BYTES, least=LEAST_BODY_BUDGET_BYTES
        ),
        may_force=_may_force(given("force", "")),
        verify_rate=_number(VERIFY_RATE[0], given(*VERIFY_RATE), DEFAULT_VERIFY_RATE, least=0),
        alone_seconds=_alone_seconds(given(*ALONE_AFTER)),
    )


def read_log_format(environment: Mapping[str, str]) -> str:
    """Return the form of log lines that KVSD_LOG_FORMAT names, ``text`` or ``json``; raises SettingsError for another."""
    text = environment.get("KVSD_LOG_FORMAT") or "text"
    if text.lower() not in ("text", "json"):
        raise SettingsError(f'KVSD_LOG_FORMAT is malformed: {text!r:.40} is not "text" or "json"')
    return text.lower()


def holds_data(data_dir: Path) -> bool:
    """Return True if something was kept in a data directory, which may know a configuration."""
    return (data_dir / "KVSD").exists()


def listen_endpoint(address: str) -> str:
    """
    Return the description of the endpoint where a node with this address listens by default: its port on all interfaces,
    of IPv6 for an IPv6 address (where the system lets that, of IPv4 as well), or on its loopback address alone.
    """
    host, _, port = address.rpartition(":")
    listen = f"tcp6:{port}" if host.startswith("[") else f"tcp:{port}"
    return f"{listen}:interface={quoteStringArgument(host.strip('[]'))}" if is_loopback(address) else listen


def _address(name: str, text: str | None) -> str:
    if not text:
        raise SettingsError(f"{name} is missing: give this node's IP:PORT")
    if fault := address_fault(text):
        raise SettingsError(f"{name} is malformed: {text!r:.80} {fault}")
    return text


def _view(text: str | None, address: str) -> tuple[str, ...]:
    if not text:
        raise SettingsError("VIEW is missing: give the IP:PORT of every node, separated by commas")
    view = tuple(_address("VIEW", part.strip()) if part.strip() else _address("VIEW", text) for part in text.split(","))
    if len(view) > MAX_NODES:
        raise SettingsError(f"VIEW is malformed: it names {len(view):,} nodes, and a cluster has at most {MAX_NODES:,}")
    if len(set(view)) != len(view):
        raise SettingsError(f"VIEW is malformed: it names a node twice: {text!r}")
    if address not in view:
        raise SettingsError(f"VIEW is malformed: it does not name this node, {address}")
    return view


def _founding(view: tuple[str, ...], text: str | None) -> Configuration | None:
    if text is None:
        return founding_configuration(view, 1) if len(view) == 1 else None
    shard_count = _number("SHARD_COUNT", text, 1)
    try:
        return founding_configuration(view, shard_count)
    except ConfigurationError as error:
        raise SettingsError(f"SHARD_COUNT is too large: {error}") from None


def _secret(path: str | None, text: str) -> bytes:
    try:
        return text.strip().encode() if path is None else read_secret_file(path)
    except UnicodeEncodeError:
        raise SettingsError(
            "KVSD_SECRET is malformed: it is not UTF-8 (a file with the secret may hold any bytes)"
        ) from None
    except OSError as error:
        raise SettingsError(f"secret-file can't be read: {path}: {error.strerror}") from None
    except SecretFileError as error:
        raise SettingsError(f"secret-file {error}: {path}") from None


def _write_concern(text: str | None) -> Concern:
    try:
        return 1 if text is None else read_concern(text)
    except ValueError:
        raise SettingsError(
            f'write-concern is malformed: {text!r:.40} is not a whole number from 1, "majority" or "all"'
        ) from None


def _may_force(text: str | None) -> bool:
    if text not in (None, "operator", "never"):
        raise SettingsError(f'force is malformed: {text!r:.40} is not "operator" or "never"')
    return text != "never"


def _alone_seconds(text: str | None) -> float:
    """The seconds that a node waits for silent ones after a restart; infinite for ``never``."""
    if text == "never":
        return math.inf
    try:
        return _number(ALONE_AFTER[0], text, DEFAULT_ALONE_SECONDS)
    except SettingsError as error:
        raise SettingsError(f'{error} and not "never"') from None


def _number(name: str, text: str | None, default: int, most: int = MAX_NUMBER, least: int = 1) -> int:
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else -1
    if not least <= number <= most:
        raise SettingsError(f"{name} is malformed: {text[:40]!r} is not a whole number from {least} to {most}")
    return number


def with_backlog(listen: str) -> str:
    """
    The description of an endpoint, with room for many connections that are not accepted yet, unless it says itself.

    Twisted has room for 50 as a rule: of some hundred clients that connect at once, as all do after a failure elsewhere,
    the others try again a second later at the earliest.
    """
    is_tcp = listen.startswith(("tcp:", "tcp6:"))
    return f"{listen}:backlog={BACKLOG}" if is_tcp and "backlog=" not in listen else listen
