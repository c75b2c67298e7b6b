"""sym3d recipes: those that come with sym3d, and what a recipe can say."""

from pathlib import Path
from typing import Annotated

import typer

from stages.errors import OutputError
from sym3d_cli.console import print_json, print_lines, print_table
from sym3d_cli.options import AsJson, epilog, recipe_names

EXAMPLES = ("sym3d recipes list", "sym3d recipes show cats", "sym3d recipes copy small mine.toml")

app = typer.Typer(
    invoke_without_command=True, help="List, show or copy the recipes that come with sym3d; explain their keys."
)
Name = Annotated[
    str,
    typer.Argument(help="A recipe's name, as in `sym3d recipes list`, or a recipe file.", autocompletion=recipe_names),
]


@app.callback()
def main(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        show_list(as_json)


@app.command("list", epilog=epilog(["sym3d recipes list", "sym3d recipes list --json"]))
def show_list(as_json: AsJson = False) -> None:
    """The recipes that come with sym3d, and the first line of each: what it is for."""
    from stages.recipe import shipped_recipes

    about = {name: _about(path) for name, path in shipped_recipes().items()}
    if as_json:
        print_json(about)
    else:
        print_table(["recipe", "about"], list(about.items()))


def _about(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


@app.command("show", epilog=epilog(["sym3d recipes show cats"]))
def show(name: Name, as_json: AsJson = False) -> None:
    """Print a recipe as it is written; `sym3d train --check` prints it with every default filled in."""
    text = _text(name)
    print_json({"recipe": name, "text": text}) if as_json else print_lines(text.replace("\t", "    ").splitlines())


@app.command("copy", epilog=epilog(["sym3d recipes copy cats", "sym3d recipes copy small mine.toml"]))
def copy(
    name: Name,
    target: Annotated[Path | None, typer.Argument(help="The new file; left out: NAME.toml in this folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a recipe, to make it your own."""
    from stages.io.files import write_file

    text = _text(name)
    target = target or Path(f"{Path(name).stem}.toml")
    if target.exists() and not overwrite:
        raise OutputError(target, "is already there", "name another file or add --overwrite")
    if not target.parent.is_dir():
        raise OutputError(target.parent, "no such folder", "make it first")
    write_file(target, text.encode())
    print_json({"recipe": target}) if as_json else print_lines([target])


@app.command("keys", epilog=epilog(["sym3d recipes keys", "sym3d recipes keys optim"]))
def show_keys(
    start: Annotated[str, typer.Argument(help="Only the keys that start like this, such as a section.")] = "",
    as_json: AsJson = False,
) -> None:
    """Every key of a recipe, its default and what it means."""
    from stages.recipe import recipe_keys

    rows = [row for row in recipe_keys() if row[0].startswith(start)]
    if as_json:
        print_json({key: {"default": default, "meaning": meaning} for key, default, meaning in rows})
    else:
        print_table(["key", "default", "meaning"], rows)


def _text(name: str) -> str:
    """The file's own text, comments included, once it is known to be a recipe."""
    from stages.recipe import find_recipe, load_recipe

    load_recipe(name)
    return find_recipe(name).read_text(encoding="utf-8-sig")
