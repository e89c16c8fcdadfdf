"""The house itself: packaging, layout, what an import costs, help for every command."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

ROOT = Path(__file__).parents[2]
LAYERS = ("config", "graphs", "nodes", "tools")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in (*LAYERS, "src"):
        ignore = shutil.ignore_patterns(
            "__pycache__", "*.egg-info", *(LAYERS if name == "src" else ())
        )
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(out)]
    subprocess.run([*command, str(copy)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_one_top_level_name(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"rolecall"}


def test_every_stack_loads_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import rolecall; assert rolecall.__file__.startswith(sys.argv[1]), rolecall.__file__\n"
        "from rolecall.config.load import load_stack, stack_files\n"
        "print(*sorted(load_stack(name).name for name in stack_files()))"
    )
    # -I keeps the editable install's finder out of the way only if ours comes first
    done = subprocess.run(
        [sys.executable, "-c", script, str(site)], check=True, capture_output=True, text=True
    )
    expected = sorted(path.stem for path in (ROOT / "config" / "stacks").glob("*.yaml"))
    assert done.stdout.split() == expected


def test_no_package_is_missing_from_the_list() -> None:
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    found = {
        "rolecall" + "".join(f".{part}" for part in init.parent.relative_to(base).parts)
        for base in (ROOT / "src" / "rolecall",)
        for init in base.rglob("__init__.py")
        if not any(part in LAYERS for part in init.relative_to(base).parts[:1])
    } | {f"rolecall.{layer}" for layer in LAYERS}
    assert found == listed


def test_importing_rolecall_imports_nothing_heavy() -> None:
    heavy = ("langgraph", "langchain_core", "openai", "xllamacpp", "httpx", "rich")
    script = f"import rolecall, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_help_imports_no_model_library() -> None:
    script = (
        "import sys; sys.argv = ['rolecall', '--help']\n"
        "from rolecall.cli.main import run\n"
        "try: run()\nexcept SystemExit: pass\n"
        "heavy = ('langgraph', 'langchain_core', 'openai', 'pydantic')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_public_names_are_these() -> None:
    import rolecall

    assert rolecall.__all__ == [
        "Assistant",
        "LocalLLMClient",
        "ModelRole",
        "Part",
        "Reply",
        "RolecallError",
        "Stack",
        "load_stack",
    ]
    for name in rolecall.__all__:
        assert getattr(rolecall, name) is not None


def _commands(command: object, path: str) -> Iterator[tuple[str, object]]:
    for name, child in getattr(command, "commands", {}).items():
        yield f"{path} {name}", child
        yield from _commands(child, f"{path} {name}")


def test_every_command_and_option_has_help() -> None:
    from rolecall.cli.main import app

    missing = []
    for path, command in _commands(get_command(app), "rolecall"):
        if not getattr(command, "help", None):
            missing.append(path)
        for parameter in getattr(command, "params", []):
            if not getattr(parameter, "help", None):
                missing.append(f"{path} {parameter.name}")
    assert isinstance(app, typer.Typer)
    assert missing == []


def test_layers_import_only_what_lies_below_them() -> None:
    order = {
        "config": 0,
        "models": 1,
        "routing": 2,
        "memory": 2,
        "tools": 1,
        "nodes": 3,
        "doctor": 3,
        "bench": 3,
        "graphs": 4,
        "replay": 5,
        "cli": 6,
    }
    shared = {
        "rolecall.graphs.state",  # what nodes and graph share
        "rolecall.routing.encoder.versions",  # the encoder: a leaf, it knows no client
    }
    wrong = []
    for path in list((ROOT / "src" / "rolecall").rglob("*.py")) + [
        p for layer in LAYERS for p in (ROOT / layer).rglob("*.py")
    ]:
        relative = (
            path.relative_to(ROOT / "src" / "rolecall")
            if "src" in path.parts
            else path.relative_to(ROOT)
        )
        level = order.get(relative.parts[0])
        if level is None:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("rolecall.") and module not in shared:
                target = order.get(module.split(".")[1])
                if target is not None and target > level:
                    wrong.append(f"{relative}: {module}")
    assert wrong == []


def test_the_encoder_is_a_leaf() -> None:
    script = (
        "import sys; from rolecall.routing.encoder.versions import current_artefact\n"
        "above = ('rolecall.models', 'rolecall.routing.llm', 'rolecall.graphs', 'rolecall.nodes')\n"
        "print([m for m in above if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
