"""Reads configuration files into a :class:`~rolecall.config.schema.Stack`.

Precedence, lowest first: packaged ``models.yaml``, the user's ``models.yaml``, the stack file,
environment (``ROLECALL_SETTINGS__TURN__DEADLINE_S=60``), overrides from the command line.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from rolecall.config.document import Document, explain, line_of, parse, validate
from rolecall.config.schema import (
    BUILT_IN_ROLES,
    ConfigFile,
    ModelRole,
    ModelSpec,
    Role,
    Settings,
    Stack,
)
from rolecall.errors import ConfigError
from rolecall.home import home

PACKAGED = Path(__file__).resolve().parent
_ENV_PREFIX = "ROLECALL_SETTINGS__"


def load_stack(
    stack: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Stack:
    """Load a stack by name or file; without one, the active stack.

    Args:
        stack: a name (``embedded``) or a path to a YAML file. ``None`` takes ``ROLECALL_STACK``,
            then what ``models.yaml`` names.
        overrides: settings by dotted key, such as ``{"turn.deadline_s": 60}``; they win.

    Raises:
        ConfigError: naming file, line and key, and what was expected.
    """
    layers = [parse(PACKAGED / "models.yaml")]
    user = _user_models_yaml()
    if user is not None:
        layers.append(parse(user))
    chosen = stack if stack is not None else os.environ.get("ROLECALL_STACK") or None
    if chosen is not None:
        layers = [_without_models(layer) for layer in layers]
    files = [validate(layer) for layer in layers]
    if chosen is not None or not files[-1].models:
        layers.append(parse(find_stack(chosen) if chosen is not None else _active(layers, files)))
        files.append(validate(layers[-1]))
    return _assemble(layers, files, overrides or {})


def _active(layers: list[Document], files: list[ConfigFile]) -> Path:
    """The stack that the last ``models.yaml`` with a ``stack`` names; files relative to it."""
    pairs = zip(reversed(layers), reversed(files), strict=True)
    layer, name = next((layer, file.stack) for layer, file in pairs if file.stack)
    return find_stack(name, layer.path.parent)


def stack_files() -> dict[str, Path]:
    """Every stack that has a name, with its file; a user's own hides a packaged one."""
    found: dict[str, Path] = {}
    for folder in _config_folders():
        for path in sorted((folder / "stacks").glob("*.y*ml")):
            found.setdefault(path.stem, path)
    return found


def find_stack(stack: str | Path, folder: Path = Path()) -> Path:
    """The file of a stack given by name, or by path from a folder (the current one).

    Raises:
        ConfigError: listing the names there are.
    """
    text = str(stack)
    if _is_path(text):
        path = _file(folder, text)
        if path is None:
            raise ConfigError(f"stack file {text} does not exist")
        return path
    files = stack_files()
    if text in files:
        return files[text]
    near = difflib.get_close_matches(text, files, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"there is no stack named {text!r}.{hint} Stacks: {', '.join(sorted(files))}. "
        "A file works too: --stack ./my-stack.yaml"
    )


def _is_path(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or os.sep in text


def _file(folder: Path, name: str) -> Path | None:
    """The file of that name, if it stands there. Names that no file can have are none."""
    try:
        full = (folder / Path(name).expanduser()).resolve()
        return full if full.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _config_folders() -> list[Path]:
    given = os.environ.get("ROLECALL_CONFIG")
    folders = []
    if given:
        path = Path(given).expanduser().resolve()
        folders.append(path if path.is_dir() else path.parent)
    return [*folders, home() / "config", PACKAGED]


def _user_models_yaml() -> Path | None:
    given = os.environ.get("ROLECALL_CONFIG")
    if given:
        path = Path(given).expanduser().resolve()
        if path.is_dir():
            path = path / "models.yaml"
        if not path.is_file():
            raise ConfigError(f"ROLECALL_CONFIG names {path}, which does not exist")
        return path
    path = home() / "config" / "models.yaml"
    return path if path.is_file() else None


def _without_models(document: Document) -> Document:
    data = {key: value for key, value in document.data.items() if key not in {"stack", "models"}}
    return Document(document.path, data, document.node)


# --- all layers together ------------------------------------------------------------------------


def _assemble(
    layers: list[Document], files: list[ConfigFile], overrides: Mapping[str, Any]
) -> Stack:
    document, file = layers[-1], files[-1]
    models = file.models
    if ModelRole.ROUTER not in models:
        raise ConfigError(
            f"{document.path}: models.router is missing: the router role decides who answers. "
            "Only id and endpoint are required."
        )
    settings = _settings(layers, overrides)
    roles = _roles(layers, files, models)
    fixed = settings.routing.role
    if fixed is None and settings.routing.strategy == "fixed":
        raise ConfigError(
            "settings.routing: strategy fixed needs a role, such as {strategy: fixed, role: coding}"
        )
    if fixed is not None and fixed not in roles:
        raise ConfigError(
            f"settings.routing.role names {fixed!r}; this stack has {', '.join(roles)}"
        )
    return Stack(
        name=document.path.stem,
        source=document.path,
        description=file.description,
        models=dict(models),
        roles=roles,
        settings=settings,
    )


def _settings(layers: list[Document], overrides: Mapping[str, Any]) -> Settings:
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer.data.get("settings") or {})
    for name, key, value in _environment():
        merged = _override(merged, key, value, source=f"environment variable {name}")
    for dotted, value in overrides.items():
        merged = _override(merged, dotted.split("."), value, source=f"override {dotted}")
    return Settings.model_validate(merged)


def _environment() -> Iterable[tuple[str, list[str], Any]]:
    for name, text in sorted(os.environ.items()):
        if name.startswith(_ENV_PREFIX):
            try:
                value = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError, RecursionError):
                value = text
            yield name, name.removeprefix(_ENV_PREFIX).lower().split("__"), value


def _override(merged: dict[str, Any], key: list[str], value: Any, source: str) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(key):
        nested = {part: nested}
    merged = _merge(merged, nested)
    try:
        Settings.model_validate(merged)
    except ValidationError as error:
        document = Document(Path(source), {}, None)
        raise ConfigError(explain(document, _first_below_settings(error))) from error
    return merged


def _first_below_settings(error: ValidationError) -> dict[str, Any]:
    problem = dict(error.errors()[0])
    problem["loc"] = ("settings", *cast("tuple[Any, ...]", problem["loc"]))
    return problem


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _roles(
    layers: list[Document], files: list[ConfigFile], models: Mapping[str, list[ModelSpec]]
) -> dict[str, Role]:
    """Roles that have a model: the built-in ones, and others that have a prompt file."""
    _check_fallbacks(layers, files, models)
    roles: dict[str, Role] = {}
    for name in [*BUILT_IN_ROLES, *(n for n in models if n not in BUILT_IN_ROLES)]:
        if name not in models:
            continue
        prompt, description, examples, fallback = None, "", tuple[str, ...](), tuple[str, ...]()
        for layer, file in zip(layers, files, strict=True):
            hints = file.roles.get(name)
            if hints is None:
                continue
            if hints.prompt is not None:
                prompt = _read_prompt(layer, name, hints.prompt)
            description = hints.description or description
            examples = tuple(hints.examples) or examples
            fallback = fallback if hints.fallback is None else tuple(hints.fallback)
        if prompt is not None:
            roles[name] = Role(name, prompt, description, examples, fallback)
    return roles


def _check_fallbacks(
    layers: list[Document], files: list[ConfigFile], models: Mapping[str, list[ModelSpec]]
) -> None:
    """A fallback is another role that exists; that this stack has no model for it is no mistake."""
    known = list(dict.fromkeys([*BUILT_IN_ROLES, *models, *(n for f in files for n in f.roles)]))
    for layer, file in zip(layers, files, strict=True):
        for name, hints in file.roles.items():
            for index, other in enumerate(hints.fallback or ()):
                if other in known and other != name:
                    continue
                line = line_of(layer.node, ["roles", name, "fallback", index])
                raise ConfigError(
                    f"{layer.path}:{line}: roles.{name}.fallback: expected another role of this "
                    f"stack ({', '.join(one for one in known if one != name)}), found {other!r}"
                )


def _read_prompt(layer: Document, role: str, prompt: str) -> str:
    folders = [layer.path.parent, layer.path.parent.parent, *_config_folders()]
    for folder in folders:
        path = _file(folder, prompt)
        if path is not None:
            try:
                text = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"cannot read the prompt {path}: {error}") from error
            if not text:
                raise ConfigError(f"the prompt {path} of role {role} is empty")
            return text
    line = line_of(layer.node, ["roles", role, "prompt"])
    raise ConfigError(
        f"{layer.path}:{line}: roles.{role}.prompt: {prompt} does not exist. "
        f"Looked in: {', '.join(dict.fromkeys(str(folder) for folder in folders))}"
    )
