"""The Typer app: global options, the commands, and how every error becomes one line and an exit code."""

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, get_type_hints

import typer
from typer.core import TyperGroup

from stages.errors import InputError, Sym3dError
from stages.interrupt import ignore_interrupts
from sym3d_cli.commands import (
    bench,
    composite,
    doctor,
    edit,
    evaluate,
    export,
    features,
    grade,
    import_,
    infer,
    info,
    models,
    prep,
    recipes,
    relight,
    report,
    reproduce,
    rerun,
    synth,
    train,
    view,
)
from sym3d_cli.console import Reporter, error_line, heedless, hush
from sym3d_cli.options import epilog
from sym3d_cli.text import bound_terminal, register_plain

__all__ = ["EXIT_CODES", "app", "main"]

EXIT_CODES = {
    0: "done",
    1: "a bug in sym3d, with its traceback",
    2: "usage: an option, argument or recipe key that makes no sense",
    3: "input: a file, image or artifact is missing, damaged or of the wrong kind",
    4: "stale: the output exists but was made from other inputs or settings",
    5: "an optional part is missing: a pip extra or a weights file",
    6: "output: the result could not be written (full disk, no permission)",
    7: "training diverged: the loss is not finite",
    8: "out of memory",
    9: "another process of the same training went away",
    130: "interrupted with Ctrl-C, SIGTERM or SIGHUP; the same command resumes",
    141: "whoever read the output went away",
}
RESUMABLE = ("prep", "synth", "features", "train", "infer", "reproduce", "rerun")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Permissions too: whoever writes makes an OutputError of those.
UNREADABLE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EIO),
)


class OneLineErrors(TyperGroup):
    """Reports errors as `explain` does, wherever they come from."""

    def make_context(self, *args, **extra):
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as error:  # Typer would say nothing
            raise typer.Exit(explain(error, None, debug=False)) from error

    def invoke(self, ctx: typer.Context):
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "format_message"):
                raise
            raise typer.Exit(explain(error, ctx.invoked_subcommand, debug=ctx.params.get("debug", False))) from error

    def main(self, *args, standalone_mode: bool = True, **extra):
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except Exception as error:
            # Typer's own usage errors: it vendors their classes, so they are known by what they can do.
            if not hasattr(error, "format_message"):
                raise
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "sym3d"
            message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".?")
            where = command.removeprefix("sym3d ")
            error_line(f"{where}: {message[:1].lower()}{message[1:]}; see {command} --help")
            code = error.exit_code
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code


def explain(error: BaseException, command: str | None, *, debug: bool) -> int:
    """Say on stderr what happened, in one line unless it is a bug, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        hush(sys.stdout)  # Python would complain once more when it flushes it at exit
        return 141
    if debug:
        traceback.print_exception(error)
    if isinstance(error, Sym3dError):
        error_line(str(error))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        ignore_interrupts()  # a second one would say so again, or in a traceback
        anew = " without --overwrite" if "--overwrite" in sys.argv else ""
        resume = f"; run the same command again{anew} to resume" if command in RESUMABLE else ""
        print(f"sym3d: interrupted{resume}", file=sys.stderr)
        return 130
    if isinstance(error, OSError) and error.errno in UNWRITABLE + UNREADABLE:
        where = error.filename or command or "output"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space, then run the same command again" if full else "check the path and its permissions"
        error_line(f"{where}: {os.strerror(error.errno).lower()}; {fix}")
        return 6 if error.errno in UNWRITABLE else 3
    # torch raises its own kinds of MemoryError, known here by name because torch must not be imported.
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "t allocate memory" in str(error):
        error_line(f"{command}: out of memory; use a smaller batch or size, or close other programs")
        return 8
    if not debug:
        traceback.print_exception(error)
    error_line(f"{type(error).__name__}: {error}; this is a bug in sym3d, please report it with the lines above")
    return 1


def said_to_load(main: Callable) -> Callable:
    """The command, whose first seconds go into loading libraries, with a word about it on a terminal."""

    @functools.wraps(main)
    def run(*args, **options):
        reporter = options["context"].obj
        reporter.wait()
        try:
            return main(*args, **options)
        finally:
            reporter.rest()

    return run


def judged_by_stages(main: Callable) -> Callable:
    """The command, with all files let through by Typer, to whom one that may not be read is wrong usage."""
    for hint in get_type_hints(main, include_extras=True).values():
        for parameter in getattr(hint, "__metadata__", ()):
            parameter.readable = False
    return main


app = typer.Typer(
    cls=OneLineErrors,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(["sym3d synth data/synfaces.h5 -n 20000", "sym3d train tiny", "sym3d eval --metric side,mad"]),
)
for name, module in {
    "prep": prep,
    "synth": synth,
    "grade": grade,
    "features": features,
    "train": train,
    "infer": infer,
    "eval": evaluate,
    "export": export,
    "relight": relight,
    "edit": edit,
    "composite": composite,
    "import": import_,
    "info": info,
    "report": report,
    "view": view,
    "reproduce": reproduce,
    "rerun": rerun,
    "bench": bench,
    "doctor": doctor,
}.items():
    app.command(name, epilog=epilog(module.EXAMPLES))(said_to_load(judged_by_stages(module.main)))
app.add_typer(models.app, name="models", epilog=epilog(models.EXAMPLES))
app.add_typer(recipes.app, name="recipes", epilog=epilog(recipes.EXAMPLES))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"sym3d {version('sym3d')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also show Python's warnings and log lines, and the time.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show only results, warnings and errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Learn the 3D shape of a kind of thing from a folder of ordinary photographs.

    Results go to stdout; notes, progress and errors go to stderr.
    """
    try:
        os.getcwd()
    except OSError:  # torch does not even load there
        raise InputError(".", "the working directory is gone", "change to one that is there") from None
    context.obj = Reporter(-1 if quiet else int(verbose))
    if context.invoked_subcommand is None:
        print(context.get_help())


def _open_closed_streams() -> None:
    """Whoever started us with ``>&-`` wants nothing of it: without this, the next file opened would be its place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def main() -> None:
    """Run the command that the arguments name."""
    bound_terminal(os.environ)
    # torch makes this folder for a compiler that nothing here uses, and does not load where it cannot.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.sep)
    _open_closed_streams()
    sys.stderr = heedless(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=register_plain())
    app(prog_name="sym3d")
