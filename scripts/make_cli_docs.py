"""Write docs/cli.md from the command line, docs/recipes.md from the recipe's fields, docs/python.md from docstrings.

``python scripts/make_cli_docs.py`` writes them; a test fails when they are not what it would write.
"""

import dataclasses
import inspect
import re
from pathlib import Path

import typer

import stages
from stages.recipe import recipe_keys
from sym3d_cli.app import EXIT_CODES, app

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTICE = "<!-- Made by scripts/make_cli_docs.py; edit the code, not this file. -->"


def cli_page() -> str:
    """The reference of every command, option and exit code."""
    root = typer.main.get_command(app)
    lines = ["# The command line", "", NOTICE, "", root.help, "", *_options(root), "", *_exit_codes()]
    for name, command in root.commands.items():
        lines += _command(f"sym3d {name}", command)
    return "\n".join(lines).rstrip() + "\n"


def _command(path: str, command) -> list[str]:
    lines = ["", f"## {path}", "", command.help, ""]
    lines += ["```", *_examples(command.epilog), "```", ""] if command.epilog else []
    lines += _options(command)
    for name, inner in getattr(command, "commands", {}).items():
        lines += _command(f"{path} {name}", inner)
    return lines


def _examples(epilog: str) -> list[str]:
    return [line.strip() for line in epilog.split("\n\n")[1:]]


def _options(command) -> list[str]:
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        argument = parameter.param_type_name == "argument"
        label = parameter.name.upper() if argument else ", ".join([*parameter.opts, *parameter.secondary_opts])
        if argument and not parameter.required:
            label = f"[{label}]"
        default = parameter.default
        shown = "" if default is None or default is False or parameter.required else str(default).lower()
        rows.append(f"| `{label}` | {_cell(parameter.help or '')} | {shown} |")
    return ["| option | meaning | default |", "|---|---|---|", *rows] if rows else []


def _exit_codes() -> list[str]:
    lines = ["An error is one line on stderr, `sym3d: error: <where>: <what was wrong>; <what to do>`.", ""]
    return [
        *lines,
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {code} | {_cell(why)} |" for code, why in EXIT_CODES.items()),
    ]


def recipes_page() -> str:
    """The reference of every key of a recipe."""
    lines = [
        "# The keys of a recipe",
        "",
        NOTICE,
        "",
        "What the shipped recipes are for: [recipes](../recipes/README.md).",
        "",
    ]
    lines += ["| key | meaning | default |", "|---|---|---|"]
    lines += [f"| `{key}` | {_cell(meaning)} | {_cell(default)} |" for key, default, meaning in recipe_keys()]
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """The reference of what ``from stages import ...`` gives."""
    lines = ["# From Python", "", NOTICE, "", _docs(stages), "", "[The notebook](notebook.ipynb) uses all of it."]
    for name in stages.__all__:
        thing = getattr(stages, name)
        lines += _entry(name, thing)
        if inspect.isclass(thing):
            members = [(member, value) for member, value in vars(thing).items() if not member.startswith("_")]
            for member, value in members:
                if inspect.isfunction(value) or isinstance(value, property):
                    lines += _entry(f"{name}.{member}", value)
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, thing) -> list[str]:
    """Its signature or, of a dataclass, the fields with the comments that say their units; and its docstring."""
    if isinstance(thing, property):
        code = []
    elif inspect.isclass(thing):
        fields = [f"{field.name}: " for field in dataclasses.fields(thing)]
        lines = [line.strip() for line in inspect.getsource(thing).splitlines() if line.startswith(" " * 4)]
        code = [line for line in lines if line.startswith(tuple(fields))]
    else:
        code = [f"{name}{_signature(thing)}"]
    fence = ["```python", *code, "```", ""] if code else []
    return ["", f"## {name}", "", *fence, _docs(thing)]


def _signature(function) -> str:
    plain = inspect.signature(function)
    text = str(plain.replace(parameters=[part for part in plain.parameters.values() if part.name != "self"]))
    text = re.sub(r"'([A-Z]\w*)'", r"\1", text)  # a class that is defined further down
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def _docs(thing) -> str:
    return re.sub(r":\w+:`", "`", inspect.getdoc(thing))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"cli.md": cli_page, "recipes.md": recipes_page, "python.md": python_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(DOCS / name)
