"""
The verbs about resharding: plan, reshard, progress, abort.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.text import Text

from kvsd.ctl.answers import FaultTolerance, Plan, PlannedMove, Status
from kvsd.ctl.client import Cluster, Reply
from kvsd.ctl.failures import NOT_FOUND, Failure, Stopped
from kvsd.ctl.follow import Follower, shard_count, under_way
from kvsd.ctl.options import Call, FunctionT, Seconds, pass_call, shared
from kvsd.ctl.progress import shown
from kvsd.ctl.screen import Screen, Sheet
from kvsd.ctl.words import count, harmless, size, things

TERMINAL_SECONDS, LINES_SECONDS = 0.5, 2.0
BUSY_HINT = {
    409: "follow it with 'kvsctl progress', or end it with 'kvsctl abort'",
    504: "it may still be under way: look with 'kvsctl progress'",
}

shards_wanted = click.argument("shards", metavar="N", type=click.IntRange(min=1))


def polling(function: FunctionT) -> FunctionT:
    """Give a verb the option how often to look."""
    return click.option(
        "--every", "every_seconds", type=Seconds(0.01, 60), metavar="SECONDS",
        help=f"How often to look [{TERMINAL_SECONDS:g} at a terminal, else {LINES_SECONDS:g}].",
    )(function)  # fmt: skip


def plan_for(cluster: Cluster, shards: int) -> Reply:
    """Ask what a reshard would do."""
    return cluster.get(f"/shard/reshard?shard-count={shards}", BUSY_HINT)


def show_plan(screen: Screen, plan: Plan) -> None:
    """Show what a reshard would do."""
    if plan.empty:
        screen.say(f"Nothing is to be moved for {things(plan.shard_count, 'shard')}.")
    else:
        if plan.moves:
            screen.say(move_sheet(plan))
        screen.say(totals(plan))
    if plan.members:
        screen.say(member_sheet(plan))
    screen.say(tolerance(plan.fault_tolerance))


def totals(plan: Plan) -> str:
    """All moves in one line."""
    least = "" if plan.least_slots is None else f" (the least possible: {count(plan.least_slots)})"
    keys = f"{things(plan.keys_to_move, 'key')}, {size(plan.bytes_to_move)}"
    return f"To move: {things(plan.slots_to_move, 'slot')}{least}, {keys}; {shard_changes(plan)}."


def shard_changes(plan: Plan) -> str:
    """How many nodes change their place."""
    number = len(plan.nodes_to_move)
    return f"{things(number, 'node')} {'changes its shard' if number == 1 else 'change their shard'}"


def move_sheet(plan: Plan) -> Sheet:
    """What each shard gives to which other."""
    sheet = Sheet(["from", "to", ">slots", ">keys", ">size"])
    for move in plan.moves:
        add_move(sheet, move)
    return sheet


def add_move(sheet: Sheet, move: PlannedMove) -> None:
    """One move."""
    sheet.add(harmless(move.source), harmless(move.target), count(move.slots), count(move.keys), size(move.bytes))


def member_sheet(plan: Plan) -> Sheet:
    """The members of all shards after it, marked where they are new there."""
    sheet = Sheet(["shard", "~members after it (* = new there)"])
    for shard, members in sorted(plan.members.items(), key=lambda item: (len(item[0]), item[0])):
        line = Text()
        for node in members:
            new = node in plan.nodes_to_move
            line.append("  " if line else "").append(harmless(node) + "*" * new, style="cyan" if new else "")
        sheet.add(harmless(shard), line)
    return sheet


def tolerance(nodes: FaultTolerance) -> Text:
    """How many nodes may fail before a shard is unavailable, now and then."""
    line = Text(f"Nodes that may fail in the weakest shard: {count(nodes.after)} after it, {count(nodes.before)} now.")
    if nodes.after is not None and nodes.before is not None and nodes.after < nodes.before:
        line.stylize("yellow")
    return line


@click.command()
@shards_wanted
@shared
@pass_call
def plan(call: Call, shards: int) -> None:
    """Show what 'reshard N' would move. Changes nothing."""
    with call.cluster() as cluster:
        reply = plan_for(cluster, shards)
    if call.as_json:
        call.screen().document(reply.text)
    else:
        show_plan(call.screen(), reply.read(Plan))


@click.command()
@shards_wanted
@click.option("--yes", is_flag=True, help="Do not ask.")
@polling
@shared
@pass_call
def reshard(call: Call, shards: int, yes: bool, every_seconds: float | None) -> None:
    """
    Divide the keys among N shards; with the number there is now, even them out.

    Shows the plan, asks (at a terminal, without --yes), and follows the reshard to its end. Ctrl-C ends the watching
    only. With --json there is a line for the plan, for each step, and for the result.
    """
    screen = call.screen()
    with call.cluster() as cluster:
        reply = plan_for(cluster, shards)
        planned = reply.read(Plan)
        if call.as_json:
            screen.document({"plan": reply.body})
        else:
            show_plan(screen, planned)
        if screen.can_ask() and not yes and not planned.empty:
            ask(f"Reshard to {things(shards, 'shard')} now?")
        before = shard_count(cluster)
        with interruptible(call):
            start = cluster.change("PUT", "/shard/reshard?wait=false", {"shard-count": shards}, BUSY_HINT)
            if start.status == 202:
                watch(cluster, screen, shards, before, every_seconds)
        report(cluster, screen, shards)


def ask(question: str) -> None:
    """Ask whether to go on; raises Stopped where the answer is no."""
    if not click.confirm(question):
        raise Stopped("nothing was changed")


@contextmanager
def interruptible(call: Call) -> Iterator[None]:
    """Let Ctrl-C end the watching, and say how to look again; raises Stopped then."""
    try:
        yield
    except KeyboardInterrupt as stop:
        hint = f"look again: '{call.command('progress')}'; end it: '{call.command('abort')}'"
        raise Stopped("stopped watching; the reshard goes on", hint) from stop


def watch(cluster: Cluster, screen: Screen, shards: int, before: int | None, every_seconds: float | None) -> None:
    """Show how a reshard goes on until it is done."""
    with shown(screen) as steps:
        default = TERMINAL_SECONDS if screen.fancy else LINES_SECONDS
        Follower(cluster, shards, before, steps).follow(every_seconds or default)


def report(cluster: Cluster, screen: Screen, shards: int) -> None:
    """Say that it is done."""
    epoch = cluster.get("/kvsd/status").read(Status).epoch
    if screen.as_json:
        screen.document({"result": "resharded", "shard-count": shards, "epoch": epoch})
    else:
        screen.say(Text(f"Resharded: {things(shards, 'shard')}, epoch {epoch}.", style="bold green"))


@click.command()
@polling
@shared
@pass_call
def progress(call: Call, every_seconds: float | None) -> None:
    """Follow the reshard that is under way. Ctrl-C ends the watching only."""
    screen = call.screen()
    with call.cluster() as cluster, interruptible(call):
        found, _ = under_way(cluster)
        if found is None:
            raise Failure(NOT_FOUND, f"{cluster.nodes[0]}: No reshard is under way", "'kvsctl status' shows the shards")
        watch(cluster, screen, found.shard_count, None, every_seconds)
        report(cluster, screen, found.shard_count)


@click.command()
@shared
@pass_call
def abort(call: Call) -> None:
    """End the reshard that is under way; what it has copied already is dropped, and no key is lost."""
    hints = {409: "it can't be aborted any more; 'kvsctl progress' follows it to its end"}
    with call.cluster() as cluster:
        reply = cluster.change("DELETE", "/kvsd/reshard", hints=hints)
    if call.as_json:
        call.screen().document(reply.text)
    else:
        call.screen().say(f"The reshard is {harmless(str(reply.body.get('result', 'aborted')))}.")
