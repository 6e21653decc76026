"""
The check of addresses: the one rule for what may be a node's name, wherever the name comes from.

An address is the name of a node, compared to the letter, so each node must have exactly one: an address is the canonical
text of an IP address (RFC 5952 for IPv6, in brackets) and of a port from 1 to 65535.  What no peer can be reached at is
no name either: an IP with a scope id (which means something on one machine alone), and an unspecified, link-local,
multicast or broadcast one.
"""

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAX_ADDRESS_LENGTH = 256
"""Longer texts are no address, and no node ever had such a name."""
NOT_AN_ADDRESS = "is not IP:PORT"

_THIS_NETWORK_OCTET = 0
_BROADCAST = IPv4Address("255.255.255.255")


@lru_cache(maxsize=8_192)
def address_fault(text: str) -> str:
    """Return why a text can't be the address of a node, as the end of a sentence; empty where it can."""
    if len(text) > MAX_ADDRESS_LENGTH:
        return NOT_AN_ADDRESS
    host, _, digits = text.rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= MAX_ADDRESS_LENGTH else 0
    try:
        ip = _read_ip(host)
    except AddressValueError:
        return NOT_AN_ADDRESS
    if ip is None or not 0 < port < 65536:
        return NOT_AN_ADDRESS
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return "has a scope id, which means nothing to other nodes"
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if kind := _unreachable_kind(ip):
        return f"is no node's name: the IP is {kind}"
    canonical = f"{ip}:{port}" if isinstance(ip, IPv4Address) else f"[{ip}]:{port}"
    return "" if text == canonical else f"is another spelling of {canonical}: write that"


def is_loopback(address: str) -> bool:
    """Return True if an address without fault can be reached from its own machine alone."""
    ip = _read_ip(address.rpartition(":")[0])
    return ip is not None and ip.is_loopback


def _read_ip(host: str) -> IPv4Address | IPv6Address | None:
    """The IP that a host is, leading zeros of IPv4 numbers let pass.  Raises AddressValueError."""
    if host.startswith("[") and host.endswith("]"):
        return IPv6Address(host[1:-1])
    parts = host.split(".")
    if not all(part.isascii() and part.isdecimal() and len(part.lstrip("0")) <= 3 for part in parts):
        return None
    return IPv4Address(".".join(part.lstrip("0") or "0" for part in parts))


def _unreachable_kind(ip: IPv4Address | IPv6Address) -> str:
    if ip.is_unspecified or (isinstance(ip, IPv4Address) and ip.packed[0] == _THIS_NETWORK_OCTET):
        return "unspecified"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    return "broadcast" if ip == _BROADCAST else ""
