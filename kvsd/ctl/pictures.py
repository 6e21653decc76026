"""
What status shows, made from the nodes' answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from kvsd.ctl.answers import Duty, NodeSeen, Reshard, Status
from kvsd.ctl.screen import Cell, Sheet
from kvsd.ctl.words import count, duration, harmless, one_line

STATE_STYLES = {"alive": "green", "suspect": "yellow", "down": "bold red"}
SILENT = "no answer"


@dataclass(frozen=True)
class Picture:
    """What one node says of the cluster, and what the others say of themselves."""

    status: Status
    keys: dict[str, int | None]
    reshard: Reshard | None
    others: dict[str, Status]
    silent: dict[str, str]

    def own(self, node: str) -> Status | None:
        """What a node says of itself, None where it was not asked or did not answer."""
        return self.status if node == self.status.address else self.others.get(node)


def headline(status: Status) -> Text:
    """The node that was asked, the cluster and its epoch."""
    line = Text(f"As {harmless(status.address)} sees it: ")
    cluster = f"cluster {harmless(status.cluster[:12])}, " if status.cluster else ""
    return line.append(f"{cluster}epoch {status.epoch}", style="bold")


def warnings(picture: Picture) -> Iterator[Text]:
    """One line for whatever an operator should look at first."""
    for node in [picture.status.address, *picture.others]:
        own = picture.own(node)
        if own and not own.ready:
            why = "; ".join(own.reasons) or "it does not say why"
            yield Text(f"{harmless(node)} is not ready: {one_line(why)}", style="yellow")
    for step in picture.status.forced:
        yield Text(f"Epoch {step.epoch} was forced, without {', '.join(map(harmless, step.given_up))}", style="yellow")
    for why in picture.silent.values():
        yield Text(one_line(why), style="yellow")


def node_sheet(picture: Picture) -> Sheet:
    """Each node: how the asked one sees it, and its own figures."""
    sheet = Sheet(
        ["node", "shard", "role", "state", "ready", ">epoch", ">lag", ">behind", ">hold-back", ">unstable", ">waiting"]
    )
    sheet.spare = (">waiting", ">unstable", "role", ">epoch")
    nodes = {picture.status.address: NodeSeen("alive", picture.status.shard, ""), **picture.status.nodes}
    for node, seen in sorted(nodes.items(), key=lambda item: numerically(item[0])):
        sheet.add(harmless(node), seen.shard, seen.role, state(seen), *figures(picture, node))
    return sheet


def numerically(node: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts addresses by their numbers."""
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in node.replace(":", ".").split("."))


def state(seen: NodeSeen) -> Text:
    """A node's state, in the colour of how bad it is."""
    return Text(harmless(seen.state), style=STATE_STYLES.get(seen.state, ""))


def figures(picture: Picture, node: str) -> list[Cell | None]:
    """What a node says of itself; dashes where it says nothing."""
    own = picture.own(node)
    if own is None:
        return [Text(SILENT, style="yellow") if node in picture.silent else None, *[None] * 6]
    epoch_style = "" if own.epoch == picture.status.epoch else "yellow"
    return [
        Text("yes", style="green") if own.ready else Text("no", style="bold red"),
        Text(str(own.epoch), style=epoch_style),
        *lag(own), count(own.holdback), count(own.unstable), count(own.waiting),
    ]  # fmt: skip


def lag(own: Status) -> list[Cell | None]:
    """Writes that a node lacks, and for how long."""
    if not own.lag_writes:
        return ["0", None]
    return [Text(count(own.lag_writes), style="yellow"), Text(duration(own.lag_s), style="yellow")]


def shard_sheet(picture: Picture) -> Sheet:
    """Each shard with its keys and nodes; columns that would be empty are left out."""
    shards = sorted(picture.status.shards.items(), key=lambda item: (len(item[0]), item[0]))
    learning = any(seen.learners for _, seen in shards)
    parting = any(seen.departed for _, seen in shards)
    sheet = Sheet(["shard", ">keys", "~members", *["~learners"] * learning, *["~departed"] * parting])
    for shard, seen in shards:
        row: list[Cell] = [harmless(shard), count(picture.keys.get(shard)), addresses(picture, seen.members)]
        row += [addresses(picture, seen.learners)] * learning + [addresses(picture, seen.departed)] * parting
        sheet.add(*row)
    return sheet


def addresses(picture: Picture, nodes: list[str]) -> Text:
    """Addresses in a row, those in trouble in colour."""
    line = Text()
    for node in nodes:
        seen = picture.status.nodes.get(node)
        style = STATE_STYLES.get(seen.state, "") if seen and seen.state != "alive" else ""
        line.append("  " if line else "").append(harmless(node), style=style)
    return line


def duty_sheet(picture: Picture) -> Sheet:
    """What nodes last did in the background, and what is blocked."""
    sheet = Sheet(["duty", "node", "~last did", ">ago", "~blocked by"])
    for node, own in {picture.status.address: picture.status, **picture.others}.items():
        for name, duty in sorted(own.duties.items()):
            if duty.last or duty.blocked_by:
                add_duty(sheet, name, node, duty)
    return sheet


def add_duty(sheet: Sheet, name: str, node: str, duty: Duty) -> None:
    """One duty of one node."""
    ago = None if duty.ago_s is None else duration(duty.ago_s)
    blocked = Text(one_line(duty.blocked_by), style="yellow") if duty.blocked_by else None
    sheet.add(harmless(name), harmless(node), one_line(duty.last or ""), ago, blocked)
