"""``rolecall models``: the weights on this machine and the servers that run them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolecall.cli.options import JsonOption

if TYPE_CHECKING:
    from rolecall.config.catalog import CatalogEntry
    from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer
    from rolecall.models.embedded.weights import Pulled

app = typer.Typer(
    no_args_is_help=True, help="List, pull and stop the models that Rolecall can run by itself."
)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Show every model of the catalog, what is installed, and what is running."""
    from rolecall.cli.output import out, print_json, table
    from rolecall.config.catalog import load_catalog
    from rolecall.models.embedded.runner import EmbeddedRunner

    running = {server.model for server in EmbeddedRunner().running()}
    rows = [_listed(entry, running) for entry in load_catalog().entries.values()]
    if as_json:
        print_json({"models": rows})
        return
    shown = table("model", "size", "licence", "installed", "running", "from", last="ellipsis")
    for row in rows:
        shown.add_row(
            row["id"],
            _megabytes(row["size_bytes"]),
            row["licence"],
            "yes" if row["installed"] else "-",
            "yes" if row["running"] else "-",
            ", ".join(row["sources"]),
        )
    out.print(shown)


@app.command()
def pull(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Ids of the catalog.")],
    from_dir: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the files from here; use no network."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch weights and verify them. An interrupted pull goes on where it stopped."""
    from rolecall.cli.output import out, print_json
    from rolecall.cli.progress import RichProgress
    from rolecall.config.catalog import load_catalog
    from rolecall.models.embedded.weights import Weights

    catalog = load_catalog()
    ids = [catalog[model].id for model in models]
    weights = Weights(RichProgress())
    pulled = []
    for model in ids:
        pulled.append(weights.pull(model, from_dir=from_dir))
        if not as_json:
            out.print(_told(pulled[-1]), soft_wrap=True, markup=False)
    if as_json:
        print_json({"pulled": [_pulled(result) for result in pulled]})


@app.command()
def ps(as_json: JsonOption = False) -> None:
    """Show the embedded servers that run now."""
    from rolecall.cli.output import out, print_json, table
    from rolecall.models.embedded.runner import EmbeddedRunner

    rows = [_process(server) for server in EmbeddedRunner().running()]
    if as_json:
        print_json({"servers": rows})
        return
    if not rows:
        out.print("No embedded server is running.")
        return
    shown = table("model", "pid", "address", "context", "memory", "state", "up")
    for row in rows:
        shown.add_row(
            row["model"],
            str(row["pid"]),
            row["base_url"],
            f"{row['context_length']:,}",
            _megabytes(row["memory_bytes"]),
            row["state"],
            _duration(row["up_s"]),
        )
    out.print(shown)


@app.command()
def stop(
    model: Annotated[str | None, typer.Argument(help="All of them when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Stop one embedded server, or all."""
    from rolecall.cli.output import out, print_json
    from rolecall.models.embedded.runner import EmbeddedRunner

    runner = EmbeddedRunner()
    wanted = None if model is None else _known(model, runner)
    stopped = runner.stop(wanted)
    if as_json:
        print_json({"stopped": [{"model": s.model, "pid": s.pid} for s in stopped]})
    elif stopped:
        out.print("Stopped: " + ", ".join(server.model for server in stopped))
    else:
        out.print(f"{wanted or 'No embedded server'} is {'not ' if wanted else ''}running.")


def _known(model: str, runner: EmbeddedRunner) -> str:
    """An id that left the user's catalog while its server runs can still be stopped."""
    from rolecall.config.catalog import load_catalog

    if model in {server.model for server in runner.running()}:
        return model
    return load_catalog()[model].id


def _listed(entry: CatalogEntry, running: set[str]) -> dict[str, Any]:
    from rolecall.models.embedded.weights import weights_path

    path = weights_path(entry)
    return {
        "id": entry.id,
        "description": entry.description,
        "parameters": entry.parameters,
        "quantization": entry.quantization,
        "licence": entry.licence,
        "size_bytes": entry.size_bytes,
        "context_length": entry.context_length,
        "installed": path is not None,
        "path": str(path) if path is not None else None,
        "running": entry.id in running,
        "sources": [source.kind for source in entry.sources],
    }


def _pulled(result: Pulled) -> dict[str, str | None]:
    return {
        "model": result.model,
        "source": result.source,
        "path": str(result.path) if result.path is not None else None,
        "endpoint": result.endpoint,
    }


def _told(result: Pulled) -> str:
    if result.path is None:
        return (
            f"{result.model} is in Ollama's own store now, not in Rolecall's folder. "
            f"In a stack: endpoint: {result.endpoint}/v1"
        )
    already = "is already at" if result.source == "present" else "is ready at"
    return f"{result.model} {already} {result.path}"


def _process(server: RunningServer) -> dict[str, Any]:
    import psutil

    from rolecall.models.embedded.activity import read_activity

    try:
        memory: int | None = psutil.Process(server.pid).memory_info().rss
    except psutil.Error:
        memory = None
    reading = read_activity(int(server.base_url.rpartition(":")[2]), server.api_key)
    state = "unreachable" if reading is None else "busy" if reading.busy else "idle"
    return {
        "model": server.model,
        "pid": server.pid,
        "base_url": server.base_url,
        "context_length": server.context_length,
        "memory_bytes": memory,
        "state": state,
        "started_at": server.started_at,
        "up_s": round(time.time() - server.started_at, 1),
    }


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:,.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
