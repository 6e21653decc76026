"""
The verb status: the cluster as one node sees it, and each node's own figures where it answers.
"""

from typing import Any
from urllib.parse import quote

import click

from kvsd.ctl.answers import ReshardAnswer, Status
from kvsd.ctl.client import Cluster, Reply
from kvsd.ctl.failures import Failure
from kvsd.ctl.options import Call, pass_call, shared
from kvsd.ctl.pictures import Picture, duty_sheet, headline, node_sheet, shard_sheet, warnings
from kvsd.ctl.progress import line_of

PATH = "/kvsd/status"


def key_counts(cluster: Cluster, status: Status) -> dict[str, int | None]:
    """How many keys each shard has; where the asked node is no member, somebody else is asked through it."""
    counts = {}
    for shard, seen in status.shards.items():
        counts[shard] = seen.keys if seen.keys is not None else key_count(cluster, shard)
    return counts


def key_count(cluster: Cluster, shard: str) -> int | None:
    """How many keys a shard has, None where nobody says."""
    try:
        keys = cluster.get(f"/shard/key-count/{quote(shard, safe='')}").body.get("shard-key-count")
    except Failure:
        return None
    return keys if isinstance(keys, int) else None


def look(cluster: Cluster, everybody: bool) -> tuple[Picture, dict[str, Any]]:
    """Ask for all there is to know; gives it to be shown, and as JSON."""
    reply = cluster.get(PATH)
    status = reply.read(Status)
    reshard = cluster.get("/kvsd/reshard")
    counts = key_counts(cluster, status)
    up = [
        node for node, seen in status.nodes.items() if node != status.address and seen.state not in {"down", "invited"}
    ]
    answers = cluster.get_from(up if everybody else [], PATH)
    picture = Picture(status, counts, reshard.read(ReshardAnswer).reshard, *sort_out(answers))
    return picture, document(reply, reshard, counts, answers)


def sort_out(answers: dict[str, Reply | Failure]) -> tuple[dict[str, Status], dict[str, str]]:
    """Nodes' own states, and for those that gave none the reason."""
    states: dict[str, Status] = {}
    silent: dict[str, str] = {}
    for node, answer in answers.items():
        own = own_status(answer)
        if isinstance(own, Failure):
            silent[node] = own.message
        else:
            states[node] = own
    return states, silent


def own_status(answer: Reply | Failure) -> Status | Failure:
    """What a node says of itself, or why that is not known."""
    try:
        return answer if isinstance(answer, Failure) else answer.read(Status)
    except Failure as failure:
        return failure


def document(
    reply: Reply, reshard: Reply, counts: dict[str, int | None], answers: dict[str, Reply | Failure]
) -> dict[str, Any]:
    """What ``--json`` shows: the asked node's answer, with the keys of all shards, the reshard and the other nodes."""
    shards = {shard: {**seen, "keys": counts[shard]} for shard, seen in reply.body.get("shards", {}).items()}
    others = {
        node: {"error": answer.message} if isinstance(answer, Failure) else answer.body
        for node, answer in answers.items()
    }
    return {**reply.body, "shards": shards, "reshard": reshard.body.get("reshard"), "others": others}


@click.command()
@click.option("--one", is_flag=True, help="Ask one node only, not each for its own figures.")
@shared
@pass_call
def status(call: Call, one: bool) -> None:
    """
    Show nodes, shards, and what each node does in the background.

    State and role of the nodes are as the node that is asked first sees them. The figures are each node's own.
    """
    screen = call.screen()
    with call.cluster() as cluster:
        picture, as_json = look(cluster, not one)
    if call.as_json:
        screen.document(as_json)
        return
    screen.say(headline(picture.status))
    if picture.reshard:
        screen.say(f"{line_of(picture.reshard)} ({call.command('progress')} follows it)")
    screen.say(*warnings(picture), node_sheet(picture), shard_sheet(picture), duty_sheet(picture))
