"""
The verbs about nodes: add-member, add, remove, forget, losses.
"""

from urllib.parse import quote

import click
from rich.text import Text

from kvsd.ctl.answers import Losses, ShardSeen, Status
from kvsd.ctl.client import Cluster, Reply
from kvsd.ctl.failures import WRONG, Failure, Refused
from kvsd.ctl.options import Call, address, any_name, pass_call, shared
from kvsd.ctl.screen import Sheet
from kvsd.ctl.words import count, harmless, things

NODE = "socket-address"
NODES = "socket-addresses"
STATUS = "/kvsd/status"
BUSY_HINT = {409: "follow it with 'kvsctl progress', or end it with 'kvsctl abort'"}

node_named = click.argument("target", metavar="NODE", type=address)
old_node_named = click.argument("target", metavar="NODE", type=any_name)


def change(call: Call, method: str, path: str, fields: dict[str, object], then: str = "") -> None:
    """Have a change about a node carried out, and write what the node said, and ``then`` what to do next."""
    with call.cluster() as cluster:
        reply = cluster.change(method, path, fields, BUSY_HINT)
    if call.as_json:
        call.screen().document(reply.text)
    else:
        about = fields.get(NODE) or ", ".join(map(str, fields[NODES]))  # type: ignore[call-overload]
        call.screen().say(f"{about}: {harmless(str(reply.body.get('result', 'done')))}{then}")


@click.command("add-member")
@click.argument("shard")
@node_named
@shared
@pass_call
def add_member(call: Call, shard: str, target: str) -> None:
    """Make NODE, which is in the view, a member of SHARD; it copies the shard's keys first."""
    change(call, "PUT", f"/shard/add-member/{quote(shard, safe='')}", {NODE: target}, f" {harmless(shard)}")


@click.command()
@node_named
@shared
@pass_call
def add(call: Call, target: str) -> None:
    """Put NODE into the view of all nodes."""
    hint = ". If it is in no shard, 'kvsctl add-member SHARD NODE' or 'kvsctl reshard N' gives it keys."
    change(call, "PUT", "/view", {NODE: target}, hint)


@click.command()
@old_node_named
@shared
@pass_call
def remove(call: Call, target: str) -> None:
    """Take NODE out of the view of all nodes; it stays out until it is started again or added."""
    try:
        change(call, "DELETE", "/view", {NODE: target}, " from the view")
    except Refused as refused:
        if refused.status == 404 and is_down(call, target):
            text = f"{refused.message}: {target} is down, so it is out of the view already"
            hint = f"if it never comes back: {call.command(f'forget {target}')}"
            raise Failure(refused.exit_status, text, hint, refused.facts) from refused
        raise


def is_down(call: Call, target: str) -> bool:
    """Return True if a node says that the target is of the cluster and down; False where nobody says so."""
    try:
        with call.cluster() as cluster:
            status = cluster.get(STATUS).read(Status)
    except Failure:
        return False
    return target in status.nodes and status.nodes[target].state == "down"


@click.command()
@click.argument("targets", metavar="NODE...", type=any_name, nargs=-1, required=True)
@click.option("--accept-loss", is_flag=True, help="Yes, give up what that node alone has.")
@click.option("--force", is_flag=True, help="Though most voters are gone: name all nodes that are.")
@shared
@pass_call
def forget(call: Call, targets: tuple[str, ...], accept_loss: bool, force: bool) -> None:
    """
    Give up NODE, which is down and will never come back.

    Writes that it acknowledged and that no other node has got are lost. Without --accept-loss nothing is done.

    It takes a majority of the voters. Where so many are gone for good that there is none, name all that are gone, with
    --force: those that are left go on without them. Never for nodes that are merely cut off: they may be serving, and
    when they are met again one side has to end.
    """
    if len(targets) > 1 and not force:
        raise Failure(
            WRONG,
            "one node at a time is forgotten without --force",
            "with --force, if most voters are gone",
            {"nodes": list(targets)},
        )
    if not accept_loss:
        words = " ".join([*targets, "--force"] if force else targets)
        lost = "; ".join(f"{target} is not forgotten: {what_may_be_lost(call, target)}" for target in targets)
        raise Failure(WRONG, lost, f"to go on: {call.command(f'forget {words} --accept-loss')}", {"node": targets[0]})
    then = ". 'kvsctl losses' shows what was lost."
    named: dict[str, object] = {NODES: list(targets), "force": True} if force else {NODE: targets[0]}
    change(call, "PUT", "/kvsd/forget", {**named, "accept-loss": True}, then)


def what_may_be_lost(call: Call, target: str) -> str:
    """What forgetting a node may cost, with what is known of the node where somebody can be asked."""
    always = "what it has acknowledged and no other node has got would be lost for ever"
    try:
        with call.cluster() as cluster:
            status = cluster.get(STATUS).read(Status)
            unstable = unstable_in_shard(cluster, status, target)
    except Failure:
        return always
    seen = status.nodes.get(target)
    if seen is None:
        return f"{always}; {status.address} does not know that node"
    place = f"{seen.role} of {seen.shard}" if seen.shard else "in no shard"
    alive = ", so wait for it or end it in order instead" if seen.state == "alive" else ""
    return f"{always}; it is {seen.state}, {place}{alive}{unstable}"


def unstable_in_shard(cluster: Cluster, status: Status, target: str) -> str:
    """Return what the members of a node's shard know of writes that not all have; nobody else does."""
    shard = status.nodes[target].shard if target in status.nodes else None
    if shard is None:
        return ""
    others = [node for node in status.shards.get(shard, ShardSeen()).members if node != target]
    answers = cluster.get_from([node for node in others if node != status.address], STATUS)
    known = [own for answer in answers.values() if (own := own_status(answer))]
    known += [status] if status.address in others else []
    if not known:
        return f"; no other member of {shard} answers, so nobody knows how much that is"
    worst = max(known, key=lambda own: own.unstable)
    if not worst.unstable:
        return ""
    return f"; {things(worst.unstable, 'write')} known at {worst.address} may not be at all members yet"


def own_status(answer: Reply | Failure) -> Status | None:
    """Return what a node says of itself, None if it gave no answer that can be read."""
    try:
        return None if isinstance(answer, Failure) else answer.read(Status)
    except Failure:
        return None


@click.command()
@shared
@pass_call
def losses(call: Call) -> None:
    """Show what was lost with nodes that were forgotten."""
    with call.cluster() as cluster:
        reply = cluster.get("/kvsd/losses")
    if call.as_json:
        call.screen().document(reply.text)
        return
    known = reply.read(Losses).losses
    call.screen().say(losses_sheet(Losses(known)) if known else "Nothing was ever lost with a forgotten node.")


def losses_sheet(losses: Losses) -> Sheet:
    """The writers of forgotten nodes, and how many of their writes are gone."""
    sheet = Sheet(["shard", "node", "writer", ">writes known", ">kept", ">lost"])
    for each in losses.losses:
        style = "green" if each.lost == 0 else "red"
        row = [harmless(each.shard), harmless(each.node), harmless(each.writer), count(each.known), count(each.kept)]
        sheet.add(*row, Text(count(each.lost), style=style))
    return sheet
