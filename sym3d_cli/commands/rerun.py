"""sym3d rerun: make an artifact once more, from what it says of its past, and compare."""

import shlex
import sys
from contextlib import redirect_stdout
from itertools import dropwhile
from pathlib import Path
from typing import Annotated

import typer

from stages.errors import InputError, StaleError, UsageError
from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson

EXAMPLES = (
    "sym3d rerun runs/cats/checkpoint.h5 -o again --parent data/cats.h5",
    "sym3d rerun faces.sym3d/prediction.h5 -o again --parent runs/cats/checkpoint.h5 --parent faces/",
)
# Those that may be run again: which parameters name parents, in order, and the result's name where -o is a folder.
COMMANDS = {
    "prep": (["source"], ""),
    "synth": (["morphable"], ""),
    "features": (["images"], ""),
    "infer": (["checkpoint", "inputs"], "prediction.h5"),
    "eval": (["target", "data"], ""),
}


def main(
    context: typer.Context,
    artifact: Annotated[Path, typer.Argument(help="An artifact of sym3d.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder for what is made; the artifact stays as it is.")],
    parent: Annotated[
        list[Path] | None,
        typer.Option("--parent", help="What it was made from, where that is not beside it; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an artifact again by the command and inputs that it was made by, and say whether it is the same (else exit
    code 4). Nothing but the artifact, its parents and photographs is read; nothing is written outside the folder.
    """
    from stages.rerun import check_new, checkpoint_again, differences, find_parents, read_past

    if out.exists() and any(out.samefile(file.parent) for file in (artifact, artifact.resolve())):
        raise UsageError(f"-o {out}", "is where the artifact itself is", "name another folder")
    past, root = read_past(artifact), context.find_root().command
    if past.schema == "sym3d.checkpoint":
        made = checkpoint_again(past, find_parents(past, parent or ()), out, context.obj)
    else:
        name, rest = command_of(past.argv, root, artifact)  # before anybody looks for its parents
        made = out / (COMMANDS[name][1] or artifact.name)
        line = again(root.commands[name], name, rest, find_parents(past, parent or ()), made, artifact)
        check_new(made, line)
        context.obj.note(f"sym3d {shlex.join(line)}")
        sys.argv = ["sym3d", *line]  # so the new artifact says how it was made
        with redirect_stdout(sys.stderr):
            code = root.main(line, prog_name="sym3d", standalone_mode=False)
        if code:
            raise typer.Exit(code)
    changed = differences(artifact, made)
    if changed:
        raise StaleError(made, f"is not the same as {artifact} ({', '.join(changed)})", "compare them with sym3d info")
    context.obj.note(f"the same as {artifact}")
    print_json({"path": made}) if as_json else print_lines([made])


def command_of(argv: tuple[str, ...], root, artifact: Path) -> tuple[str, list[str]]:
    """The name of the command that made it, and the rest. Raises InputError for one that may not be run again."""
    name, *rest = list(dropwhile(lambda word: word.startswith("-"), argv)) or [""]  # after sym3d's own flags
    if name not in COMMANDS or {"-h", "--help"} & {*rest}:
        what = f"was made by sym3d {name}" if name in root.commands else "does not say which command made it"
        what += f"; only {', '.join(COMMANDS)}, train and import can be run again"
        raise InputError(artifact, what, "make it anew")
    return name, rest


def again(command, name: str, rest: list[str], parents: list[Path], made: Path, artifact: Path) -> list[str]:
    """Arguments that make it. ``rest`` is untrusted: parsed for its options, every path in it replaced."""
    try:
        values = command.make_context(name, rest).params
    except Exception as error:
        what = f"its command cannot be read (sym3d {shlex.join([name, *rest])})"
        raise InputError(artifact, what, "make it anew") from error
    places, result = COMMANDS[name]
    if len(parents) < sum(p.name in places and p.param_type_name == "argument" for p in command.params):
        raise InputError(artifact, "does not say what it was made from", "make it anew")
    values = {key: value for key, value in values.items() if key not in (*places, "overwrite", "as_json")}
    values |= {"out": made.parent if result else made}
    for at, place in enumerate(places):
        values[place] = parents[at:] if place == "inputs" else next(iter(parents[at : at + 1]), None)
    options, arguments = [], []
    for parameter in command.params:
        value = values.get(parameter.name)
        if parameter.param_type_name == "argument":
            arguments += map(str, value if isinstance(value, list) else [value])
        elif value is not None and value != parameter.default:
            flag = parameter.opts[-1] if value is not False else parameter.secondary_opts[-1]
            options += [flag] if isinstance(value, bool) else [f"{flag}={value}"]
    return [name, *options, "--", *arguments]
