"""
``python -m kvsd.local``: a whole cluster on this machine, for trying things out, until Ctrl-C.
"""

import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kvsd.local.cluster import ClusterError, LocalCluster, addresses_from, end_on_signals, get_json

WATCH_SECONDS = 0.5
TRY_THESE = """\
Try:
  reply=$(curl -s -X PUT http://{first}/kvs/tea -d '{{"value": "oolong"}}'); echo "$reply"
  curl -s -X GET http://{second}/kvs/tea -d "$reply"     # another node; the reply holds the causal-metadata to send
  curl -s http://{third}/shard/key-count/{shard}
"""


def shard_table(address: str) -> Table:
    """Shards and their members, as one node knows them."""
    table = Table("shard", "members")
    for shard in get_json(address, "/shard/ids")[1]["shard-ids"]:
        members = get_json(address, f"/shard/members/{shard}")[1]["shard-members"]
        table.add_row(shard, "  ".join(members))
    return table


def serve(cluster: LocalCluster, console: Console) -> None:
    """Wait for the nodes, show what there is, and watch until a signal or until a node ends."""
    with console.status(f"Starting {len(cluster.addresses)} nodes …"):
        cluster.ready()
    console.print(shard_table(cluster.addresses[0]))
    first, second, third = (cluster.addresses * 3)[:3]
    shard = get_json(first, "/shard/ids")[1]["shard-ids"][0]
    click.echo(TRY_THESE.format(first=first, second=second, third=third, shard=shard))
    click.echo(f"Data and logs are in {cluster.data}. Ctrl-C ends the cluster.")
    while True:
        cluster.check()
        time.sleep(WATCH_SECONDS)


@click.command()
@click.option("--nodes", default=6, show_default=True, type=click.IntRange(min=1), help="How many nodes.")
@click.option("--shards", default=2, show_default=True, type=click.IntRange(min=1), help="How many shards.")
@click.option("--first-port", default=8082, show_default=True, type=click.IntRange(1, 65535), help="The others follow.")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address in the nodes' names.")
@click.option("--data", default=".kvsd", show_default=True, type=click.Path(path_type=Path), help="Data and logs.")
@click.option("--fsync/--no-fsync", default=True, show_default=True, help="Sync each batch of writes to disk.")
def main(nodes: int, shards: int, first_port: int, host: str, data: Path, fsync: bool) -> None:
    """Run a cluster of kvsd nodes on this machine until Ctrl-C."""
    end_on_signals()
    options = [] if fsync else ["--no-fsync"]
    cluster = LocalCluster(addresses_from(host, first_port, nodes), shards, data, options=options)
    status = 0
    try:
        cluster.start()
        serve(cluster, Console())
    except KeyboardInterrupt:
        click.echo("\nEnding the nodes …")
    except ClusterError as error:
        click.echo(f"{error}\nThe rest is shut down.", err=True)
        status = 1
    finally:
        for address in cluster.stop():
            click.echo(f"warning: {address} did not end within 10 s of SIGTERM and was killed", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
