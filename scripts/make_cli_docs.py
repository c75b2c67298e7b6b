"""Write the pages that come from the code: the command line, recipe keys, Python names and JSON results.

``python scripts/make_cli_docs.py`` writes them; a test fails when they are not what it would write.
"""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

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


RESULTS = {  # command → the stage whose result it prints, or the document in words
    "prep": "stages.prep:PrepResult",
    "grade": "stages.grade:GradeResult",
    "synth": "stages.synth:SynthResult",
    "features": "stages.features:FeaturesResult",
    "train": "stages.train:TrainResult",
    "infer": "stages.infer:InferResult",
    "eval": "stages.evaluate:EvaluateResult",
    "export": "stages.export:ExportResult",
    "relight": "stages.relight:RelightResult",
    "edit": "stages.edit:EditResult",
    "composite": "stages.composite:CompositeResult",
    "import": "stages.convert:ImportResult",
    "info": "stages.inspect:InfoResult",
    "report": "stages.report:ReportResult",
    "view": {"url": "string, printed as soon as the pages are there"},
    "reproduce": "stages.reproduce:ReproduceResult",
    "rerun": {"path": "string (path) of what was made, the same as the artifact"},
    "bench": "stages.bench:BenchResult",
    "doctor": "stages.doctor:DoctorResult",
    "models list": "stages.catalogue:Model",
    "models card": {"name": "string", "card": "string, the Markdown of the card"},
    "recipes list": {"NAME": "string, what the recipe is for; a key for each recipe"},
    "recipes show": {"recipe": "string", "text": "string, the TOML"},
    "recipes copy": {"recipe": "string, the new file"},
    "recipes keys": {"KEY": "object (default: string, meaning: string); a key for each key of a recipe"},
}
JSON_INTRO = """
With `--json` a command prints one JSON document on stdout, and nothing else there; notes, warnings and progress go to
stderr as always. Paths are strings; a number that JSON has no word for (NaN, infinity) is null. When a command fails,
stdout is empty and [the exit code](cli.md) says why. Keys may be added in later versions.

```sh
sym3d eval runs/cats data/synfaces.h5 --json | jq .summary.model.side.mean
sym3d infer runs/cats photos/ --json | jq -r '.meshes[]'
```
"""


def json_page() -> str:
    """The keys of what each command prints with --json."""
    lines = ["# JSON", "", NOTICE, *JSON_INTRO.splitlines()]
    for command, result in RESULTS.items():
        lines += ["", f"## sym3d {command}", ""]
        if isinstance(result, str):
            module, name = result.split(":")
            result = _keys(getattr(import_module(module), name))
        lines += ["A list of objects:", ""] if command == "models list" else []
        lines += ["| key | value |", "|---|---|", *(f"| `{key}` | {_cell(value)} |" for key, value in result.items())]
        if command == "train":
            lines += ["", "With `--check`: the resolved recipe, an object for each section."]
    return "\n".join(lines) + "\n"


def _keys(result: type, inside: tuple[type, ...] = ()) -> dict[str, str]:
    hints = get_type_hints(result)
    return {field.name: _json_type(hints[field.name], (*inside, result)) for field in dataclasses.fields(result)}


def _json_type(hint: Any, inside: tuple[type, ...]) -> str:
    """A Python type in the words of JSON; inside: the types that it is a part of."""
    plain = {str: "string", Path: "string (path)", int: "number", float: "number", bool: "true or false"}
    plain |= {Any: "any", NoneType: "null"}
    if hint in plain:
        return plain[hint]
    if dataclasses.is_dataclass(hint):
        keys = "the same" if hint in inside else ", ".join(f"{k}: {v}" for k, v in _keys(hint, inside).items())
        return f"object ({keys})"
    origin, parts = get_origin(hint), [_json_type(part, inside) for part in get_args(hint) if part is not Ellipsis]
    if origin is None:
        return "object"  # with keys of its own for each table
    if origin is UnionType:
        return " or ".join(parts)
    if issubclass(origin, Mapping):
        return f"object of {parts[1]}"
    return f"list of {parts[0]}" if len(parts) == 1 else f"list [{', '.join(parts)}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"cli.md": cli_page, "recipes.md": recipes_page, "python.md": python_page, "json.md": json_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(DOCS / name)
