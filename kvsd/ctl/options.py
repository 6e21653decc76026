"""
The options that every verb has, before it or behind it: which nodes, JSON, patience.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from typing_extensions import override

from kvsd.ctl.client import Cluster
from kvsd.ctl.screen import Screen

DEFAULT_NODE = "127.0.0.1:8090"
DEFAULT_TIMEOUT_SECONDS = 20.0
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def address(text: str) -> str:
    """Check that text is ``IP:PORT``; a host name is as good where it is only to be asked.  Raises BadParameter."""
    host, _, port = text.rpartition(":")
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    if not HOST.fullmatch(host) or not 0 < number < 65536:
        raise click.BadParameter(f"{text!r} is no IP:PORT, such as {DEFAULT_NODE}")
    return text


def any_name(text: str) -> str:
    """Take the name of a node that is to go: a cluster may have names from before they were checked as they are now."""
    if not re.fullmatch(r"\S{1,256}", text):
        raise click.BadParameter(f"{text!r} is no node's name")
    return text


def nodes_of_environment() -> list[str]:
    """The nodes that KVSCTL_NODE names, with spaces or commas between them; raises BadParameter for a bad one."""
    names = os.environ.get("KVSCTL_NODE", "").replace(",", " ").split()
    try:
        return [address(name) for name in names]
    except click.BadParameter as error:
        error.param_hint = "KVSCTL_NODE"
        raise


class Seconds(click.FloatRange):
    """A number of seconds within bounds; ``nan``, which no comparison refuses, is none."""

    name = "seconds"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds from {self.min:g} to {self.max:g}", param, ctx)
        return seconds


@dataclass
class Call:
    """What was said on the command line for every verb."""

    nodes: list[str] = field(default_factory=list)
    as_json: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    done: list[str] = field(default_factory=list)
    """What nodes were asked to change and said that they do: ``PUT /view``."""

    def cluster(self, known_node: str | None = None) -> Cluster:
        """The nodes to ask: those that were named, else those of the environment, else a known one and the default."""
        nodes = self.nodes or nodes_of_environment() or [*filter(None, [known_node]), DEFAULT_NODE]
        return Cluster(dict.fromkeys(nodes), self.timeout_seconds, self.done.append)

    def screen(self) -> Screen:
        """Where the output goes."""
        return Screen(self.as_json)

    def command(self, words: str) -> str:
        """How to call kvsctl again for the same nodes."""
        return " ".join(["kvsctl", *(f"--node {node}" for node in self.nodes), words])


pass_call = click.make_pass_decorator(Call, ensure=True)


def _take_nodes(context: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    context.ensure_object(Call).nodes += value


def _take_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    call = context.ensure_object(Call)
    call.as_json = call.as_json or value


def _take_timeout(context: click.Context, _: click.Parameter, value: float | None) -> None:
    call = context.ensure_object(Call)
    call.timeout_seconds = value or call.timeout_seconds


def shared(function: FunctionT) -> FunctionT:
    """Give a command the options that all have."""
    options = [
        click.option(
            "--node", multiple=True, type=address, metavar="IP:PORT", expose_value=False, callback=_take_nodes,
            help="The node to ask; several: the next one is asked where one can't be reached. "
            f"Else KVSCTL_NODE, else {DEFAULT_NODE}.",
        ),
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_take_json,
            help="JSON on standard output, errors as JSON on standard error.",
        ),
        click.option(
            "--timeout", type=Seconds(0.01, 3600), metavar="SECONDS", expose_value=False,
            callback=_take_timeout, help=f"How long to wait for a node's answer [{DEFAULT_TIMEOUT_SECONDS:g}].",
        ),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function
