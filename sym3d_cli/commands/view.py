"""sym3d view: results in a browser, up to date while a training runs."""

from typing import Annotated

import typer

from sym3d_cli.console import print_json, print_lines
from sym3d_cli.options import AsJson, Looked, MostItems

EXAMPLES = ("sym3d view runs/cats", "sym3d view runs --port 8080", "sym3d view faces.sym3d/prediction.h5")


def main(
    context: typer.Context,
    inputs: Looked,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; any but the default shows it to other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    most: MostItems = 500,
    as_json: AsJson = False,
) -> None:
    """Serve the report's pages to a browser on this machine until Ctrl-C; they follow a training that runs."""
    from stages.view import ViewRequest, run

    if host not in ("127.0.0.1", "localhost", "::1"):
        context.obj.warn(f"everyone who can reach {host} sees these results, without a password")
    request = ViewRequest(tuple(inputs), host, port, most)

    def ready(url: str) -> None:
        context.obj.rest()
        print_json({"url": url}) if as_json else print_lines([url])

    run(request, ready=ready, report=context.obj)
