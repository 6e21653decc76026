"""
Logs: one line an event, as text or as JSON, for ``twistd --logger kvsd.logs.observer``.

``KVSD_LOG_FORMAT=json`` chooses JSON.  Neither form ever holds a value or a token: events carry none.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO, cast

import msgspec
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, formatEvent, formatTime
from zope.interface import provider

from kvsd.log_stream import LossyStream
from kvsd.settings import SettingsError, read_log_format

_encode = msgspec.json.Encoder(enc_hook=str).encode


def observer() -> ILogObserver:
    """A log observer that writes to standard output, in the form that KVSD_LOG_FORMAT names (``text`` or ``json``)."""
    try:
        form = read_log_format(os.environ)
    except SettingsError as error:
        raise SystemExit(f"kvsd: {error}") from None
    if isinstance(sys.stdout, LossyStream):
        sys.stdout.notice = lambda count: notice_of_dropped(count, time.time(), form)
    return to_stream(sys.stdout, form)


def notice_of_dropped(count: int, now: float, form: str) -> str:
    """The line that stands in a log where so many are missing, as nobody read them."""
    event: LogEvent = {
        "log_time": now,
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_format": "{event} lines={lines}: nobody read them",
        "event": "log-lines-dropped",
        "lines": count,
        "facts": {"lines": count},
    }
    return (as_json(event) if form == "json" else as_text(event)) + "\n"


def to_stream(stream: TextIO, form: str) -> ILogObserver:
    """A log observer that writes a line an event to a stream; debugging events are left out."""
    formatted: Callable[[LogEvent], str] = as_json if form == "json" else as_text
    written = FileLogObserver(stream, lambda event: formatted(event) + "\n")

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) > LogLevel.debug:
            written(event)

    return cast(ILogObserver, observe)


def as_text(event: LogEvent) -> str:
    """The event as one line: time, level, where, what."""
    level = event.get("log_level", LogLevel.info).name
    return f"{_time(event)} {level} {event.get('log_namespace', '-')} {_message(event)}"


def as_json(event: LogEvent) -> str:
    """The event as one line of JSON; the facts of an event of kvsd's own are members of the object."""
    line = {
        "time": _time(event),
        "level": event.get("log_level", LogLevel.info).name,
        "where": event.get("log_namespace", "-"),
        "event": event.get("event") or _message(event),
        **event.get("facts", {}),
    }
    return _encode(line).decode()


def _time(event: LogEvent) -> str:
    return formatTime(event.get("log_time"))


def _message(event: LogEvent) -> str:
    """The message in one line, with the traceback of a failure if there is one."""
    text = formatEvent(event)
    if failure := event.get("log_failure"):
        text += " " + failure.getTraceback()
    return text.replace("\n", "\\n")
