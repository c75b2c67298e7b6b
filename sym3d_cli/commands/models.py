"""sym3d models: those that come with sym3d, and what is known of them."""

from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines, print_table
from sym3d_cli.options import AsJson, epilog, model_names

EXAMPLES = ("sym3d models list", "sym3d models card synfaces", "sym3d models list --json")

app = typer.Typer(
    invoke_without_command=True,
    help="List the models that come with sym3d; show their cards. Their names go where a checkpoint goes.",
)


@app.callback()
def main(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        show_list(as_json)


@app.command("list", epilog=epilog(["sym3d models list", "sym3d models list --json"]))
def show_list(as_json: AsJson = False) -> None:
    """The models that come with sym3d: name, size, what it is for."""
    from stages.catalogue import catalogue

    found = catalogue()
    if as_json:
        print_json(found)
        return
    rows = [[m.name, m.size, f"{m.parameters / 1e6:.1f} M", f"{m.file_bytes / 2**20:.1f}", m.about] for m in found]
    print_table(["model", "pixels", "parameters", "MiB", "about"], rows)


@app.command("card", epilog=epilog(["sym3d models card synfaces"]))
def show_card(
    name: Annotated[
        str,
        typer.Argument(help="A model's name, as in `sym3d models list`.", autocompletion=model_names),
    ],
    as_json: AsJson = False,
) -> None:
    """The model card: data and its licence, recipe, figures, limits, intended use."""
    from stages.catalogue import read_card

    card = read_card(name)
    print_json({"name": name, "card": card}) if as_json else print_lines(card.splitlines())
