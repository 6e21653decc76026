"""
``kvsctl``, or ``python -m kvsd.ctl``: the operator's command line.
"""

import click

from kvsd.ctl.failures import EXITS
from kvsd.ctl.keys import delete, get, put
from kvsd.ctl.members import add, add_member, forget, losses, remove
from kvsd.ctl.options import shared
from kvsd.ctl.program import Program
from kvsd.ctl.reshard import abort, plan, progress, reshard
from kvsd.ctl.status import status


@click.group(cls=Program, epilog=EXITS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kvsd")
@shared
def cli() -> None:
    """
    Look at a kvsd cluster, change it, and use its keys.

    The options below may stand behind the verb too.
    """


for verb in (status, plan, reshard, progress, abort, add_member, add, remove, forget, losses, get, put, delete):
    cli.add_command(verb)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    cli(prog_name="kvsctl")


if __name__ == "__main__":
    main()
