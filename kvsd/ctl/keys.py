"""
The verbs about keys: get, put, delete.

A write carries an Idempotency-Key, so it may be sent to the next node where one did not answer, and takes effect once.
"""

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from kvsd.ctl.answers import Found
from kvsd.ctl.client import Cluster, Reply
from kvsd.ctl.options import Call, FunctionT, pass_call, shared
from kvsd.ctl.session import TOKEN, Session, load
from kvsd.ctl.words import harmless

CARRIED_OUT = (200, 201, 404, 504)
HINTS = {
    503: "'--wait SECONDS' waits for missing causes; 'kvsctl status' shows what is amiss",
    504: "it is written, and will be at the other replicas once they are up: 'kvsctl status'",
}
WORDS = ("majority", "all")


def path_of(key: str) -> str:
    """
    The path of a key, escaped to the last character.

    Dots too, as a path of dots alone would be taken for a step up.  Bytes of the command line that are not UTF-8
    are sent as they are; it is for the node to refuse them.
    """
    if not key:
        raise click.BadParameter("a key has at least one character", param_hint="KEY")
    return "/kvs/" + quote(os.fsencode(key), safe="").replace(".", "%2E")


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def as_json_text(value: str) -> str:
    """VALUE as JSON text: as it is where it is JSON, which keeps large numbers whole, else as a string."""
    try:
        value.encode()
        json.loads(value, parse_constant=_not_json, parse_int=float)
    except UnicodeEncodeError as error:
        raise click.BadParameter("it is not UTF-8", param_hint="VALUE") from error
    except RecursionError as error:
        raise click.BadParameter("it is nested too deep", param_hint="VALUE") from error
    except ValueError:
        return json.dumps(value, ensure_ascii=False)
    return value.strip()


def value_given(value: str) -> str:
    """VALUE of the command line, or all of standard input for ``-``, as JSON text."""
    if value != "-":
        return as_json_text(value)
    if sys.stdin is None:
        raise click.BadParameter("standard input is closed", param_hint="VALUE")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter("standard input is not UTF-8", param_hint="VALUE") from error
    except OSError as error:
        raise click.BadParameter(f"standard input can't be read: {error.strerror}", param_hint="VALUE") from error
    return as_json_text(text)


def ask(
    cluster: Cluster,
    session: Session,
    method: str,
    key: str,
    value: str | None,
    wait_seconds: int | None,
    concern: str | None = None,
) -> Reply:
    """Send a request about a key with the session's token, and keep the token of the answer."""
    fields = f'"{TOKEN}": {json.dumps(session.token)}'
    content = "{" + (fields if value is None else f'"value": {value}, {fields}') + "}"
    headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
    if method != "GET":
        headers["Idempotency-Key"] = uuid.uuid4().hex
    path = path_of(key) + (f"?w={concern}" if concern else "")
    reply = cluster.ask(method, path, content.encode(), headers, more_seconds=wait_seconds or 0)
    if reply.status in CARRIED_OUT:
        session.take(reply)
    return reply.ok(HINTS)


def value_text(reply: Reply) -> str:
    """The value in an answer: a string as it is, anything else as the JSON that came."""
    raw = bytes(reply.read(Found).value)
    return str(reply.body["value"]) if raw.startswith(b'"') else raw.decode()


def about_keys(function: FunctionT) -> FunctionT:
    """Give a verb the options that those about keys have."""
    session = click.option(
        "--session", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Carry the causal token from call to call in this file.",
    )  # fmt: skip
    wait = click.option(
        "--wait", "wait_seconds", type=click.IntRange(1, 60), metavar="SECONDS",
        help="Let the node wait so long for causes that it lacks.",
    )  # fmt: skip
    return shared(session(wait(function)))


def _checked(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None or value in WORDS or (value.isascii() and value.isdecimal() and value.strip("0")):
        return value
    raise click.BadParameter('it is a whole number from 1, "majority" or "all"')


def writing(function: FunctionT) -> FunctionT:
    """Give a verb the options that those that write have."""
    concern = click.option(
        "--w", "concern", metavar="REPLICAS", callback=_checked,
        help='How many replicas are to have it before it is acknowledged: a number, "majority" or "all".',
    )  # fmt: skip
    return about_keys(concern(function))


def one(call: Call, session_file: Path | None, *request: Any) -> Reply:
    """Carry out one request about a key in a session; its answer is written where JSON was asked for."""
    session = load(session_file)
    with call.cluster(session.node) as cluster:
        reply = ask(cluster, session, *request)
    if call.as_json:
        call.screen().document(reply.text)
    return reply


@click.command()
@click.argument("key")
@about_keys
@pass_call
def get(call: Call, key: str, session: Path | None, wait_seconds: int | None) -> None:
    """
    Read a key.

    A string is written as it is, any other value as JSON.
    """
    reply = one(call, session, "GET", key, None, wait_seconds)
    if not call.as_json:
        text = value_text(reply)
        # click would take escape sequences out of what goes to a file; a value is to arrive there as it is.
        click.echo(harmless(text, keep="\n\t") if call.screen().fancy else text, color=True)


@click.command()
@click.argument("key")
@click.argument("value")
@writing
@pass_call
def put(call: Call, key: str, value: str, session: Path | None, wait_seconds: int | None, concern: str | None) -> None:
    """
    Write a key.

    VALUE is JSON if it can be read as JSON, else a string; '-' reads it from standard input. To store a string that
    looks like JSON, quote it: '"42"'. A value that begins with a dash goes after '--'.
    """
    reply = one(call, session, "PUT", key, value_given(value), wait_seconds, concern)
    if not call.as_json:
        call.screen().say(done(reply, key))


@click.command()
@click.argument("key")
@writing
@pass_call
def delete(call: Call, key: str, session: Path | None, wait_seconds: int | None, concern: str | None) -> None:
    """Delete a key."""
    reply = one(call, session, "DELETE", key, None, wait_seconds, concern)
    if not call.as_json:
        call.screen().say(done(reply, key))


def done(reply: Reply, key: str) -> str:
    """What a write did, in words; and how many replicas have it, where that was asked."""
    durability = reply.body.get("durability")
    reached = f", on {durability.get('replicas')} of {durability.get('of')}" if isinstance(durability, dict) else ""
    return f"{reply.body.get('result', 'done')} {harmless(key)} in {reply.body.get('shard-id', '?')}{reached}"
