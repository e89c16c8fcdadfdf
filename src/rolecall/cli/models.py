"""``rolecall models``: the weights on this machine and the servers that run them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rolecall.config.catalog import CatalogEntry, load_catalog
from rolecall.models.embedded.activity import read_activity
from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer
from rolecall.models.embedded.weights import Pulled, Weights, weights_path

app = typer.Typer(
    no_args_is_help=True, help="List, pull and stop the models that Rolecall can run by itself."
)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]


@app.command("list")
def list_models(as_json: _Json = False) -> None:
    """Show every model of the catalog, what is installed, and what is running."""
    running = {server.model for server in EmbeddedRunner().running()}
    rows = [_listed(entry, running) for entry in load_catalog().entries.values()]
    if as_json:
        _print_json({"models": rows})
        return
    table = _table("MODEL", "SIZE", "LICENCE", "INSTALLED", "RUNNING", "FROM")
    for row in rows:
        table.add_row(
            row["id"],
            _megabytes(row["size_bytes"]),
            row["licence"],
            "yes" if row["installed"] else "-",
            "yes" if row["running"] else "-",
            ", ".join(row["sources"]),
        )
    _console().print(table)


@app.command()
def pull(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Ids of the catalog.")],
    from_dir: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the files from here; use no network."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Fetch weights and verify them. An interrupted pull goes on where it stopped."""
    from rolecall.cli.progress import RichProgress

    catalog = load_catalog()
    ids = [catalog[model].id for model in models]
    weights = Weights(RichProgress())
    pulled = []
    for model in ids:
        pulled.append(weights.pull(model, from_dir=from_dir))
        if not as_json:
            _console().print(_told(pulled[-1]), highlight=False, soft_wrap=True)
    if as_json:
        _print_json({"pulled": [_pulled(result) for result in pulled]})


@app.command()
def ps(as_json: _Json = False) -> None:
    """Show the embedded servers that run now."""
    rows = [_process(server) for server in EmbeddedRunner().running()]
    if as_json:
        _print_json({"servers": rows})
        return
    if not rows:
        _console().print("No embedded server is running.")
        return
    table = _table("MODEL", "PID", "ADDRESS", "CONTEXT", "MEMORY", "STATE", "UP SINCE")
    for row in rows:
        table.add_row(
            row["model"],
            str(row["pid"]),
            row["base_url"],
            f"{row['context_length']:,}",
            _megabytes(row["memory_bytes"]),
            row["state"],
            _duration(row["up_s"]) + " ago",
        )
    _console().print(table)


@app.command()
def stop(
    model: Annotated[str | None, typer.Argument(help="All of them when left out.")] = None,
    as_json: _Json = False,
) -> None:
    """Stop one embedded server, or all."""
    runner = EmbeddedRunner()
    wanted = None if model is None else _known(model, runner)
    stopped = runner.stop(wanted)
    if as_json:
        _print_json({"stopped": [{"model": s.model, "pid": s.pid} for s in stopped]})
    elif stopped:
        _console().print("Stopped: " + ", ".join(server.model for server in stopped))
    else:
        _console().print(f"{wanted or 'No embedded server'} is {'not ' if wanted else ''}running.")


def _known(model: str, runner: EmbeddedRunner) -> str:
    """An id that left the user's catalog while its server runs can still be stopped."""
    if model in {server.model for server in runner.running()}:
        return model
    return load_catalog()[model].id


def _listed(entry: CatalogEntry, running: set[str]) -> dict[str, Any]:
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


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != "FROM")
    return table


def _console() -> Console:
    return Console()


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:,.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
