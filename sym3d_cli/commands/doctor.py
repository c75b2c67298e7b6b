"""sym3d doctor: what this machine has, and what would make it faster."""

import typer

from sym3d_cli.console import print_json, print_table
from sym3d_cli.options import AsJson

EXAMPLES = ("sym3d doctor", "sym3d doctor --json")


def main(context: typer.Context, as_json: AsJson = False) -> None:
    """Show versions, device, optional parts, and what would speed this machine up."""
    from stages.doctor import DoctorRequest, run

    result = run(DoctorRequest(), report=context.obj)
    if as_json:
        print_json(result)
        return
    print_table(["what", "here"], [*result.facts.items(), *(("advice", line) for line in result.advice)])
