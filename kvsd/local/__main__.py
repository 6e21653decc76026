"""
``python -m kvsd.local``: a whole cluster on this machine, for trying things out, until Ctrl-C.
"""

import shlex
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kvsd.local.cluster import (
    ClusterError,
    LocalCluster,
    addresses_from,
    end_on_signals,
    explain,
    get_json,
    how_it_ended,
)

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


def restart_line(cluster: LocalCluster, address: str) -> str:
    """Return the line for a shell that starts a node again, whatever the shell's environment and directory."""
    return shlex.join([*cluster.command(address), f"--secret-file={cluster.data / 'secret'}"])


def report_ended(cluster: LocalCluster) -> None:
    """Say which nodes have ended, that the others go on, and how to start each again; raises ClusterError where none is left."""
    for address, (pid, status) in cluster.take_ended().items():
        click.echo(f"\n{explain(f'process {pid}', {address: how_it_ended(status)}, cluster.log)}", err=True)
        others = ", ".join(f"{other} (process {pid})" for other, pid in cluster.processes().items())
        if others:
            click.echo(f"The others go on: {others}. To start it again, in another terminal:", err=True)
            click.echo(f"  {restart_line(cluster, address)}", err=True)
    if not cluster.processes():
        raise ClusterError("No node is left.")


def serve(cluster: LocalCluster, console: Console) -> None:
    """Wait for the nodes, show what there is, and watch until a signal or until no node is left."""
    with console.status(f"Starting {len(cluster.addresses)} nodes …"):
        cluster.ready()
    console.print(shard_table(cluster.addresses[0]))
    first, second, third = (cluster.addresses * 3)[:3]
    shard = get_json(first, "/shard/ids")[1]["shard-ids"][0]
    click.echo(TRY_THESE.format(first=first, second=second, third=third, shard=shard))
    processes = ", ".join(f"{pid} is {address}" for address, pid in cluster.processes().items())
    click.echo(f"Processes: {processes}. Kill one: the others go on.")
    click.echo(f"Data and logs are in {cluster.data}. Ctrl-C ends the cluster.")
    while True:
        report_ended(cluster)
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
