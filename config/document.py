"""One configuration file: read, checked, and its mistakes put into words with line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from rolecall.config.schema import ConfigFile, ModelSpec, RoleHints
from rolecall.errors import ConfigError

_MAX_FILE_BYTES = 1_000_000
_MAX_MERGED_KEYS = 10_000


@dataclass(frozen=True)
class Document:
    """A parsed file; its node knows the line of every key."""

    path: Path
    data: dict[str, Any]
    node: yaml.Node | None


def parse(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: it cannot be read, or is not such a file.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_FILE_BYTES:,} bytes: not a stack file?")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_merge_bombs(path, node)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{where}: not valid YAML: {problem}") from error
    except ValueError as error:  # a date or number that looks like one and is none
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    if data is None:
        raise ConfigError(f"{path} is empty: expected models: with a router (see stack show)")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected keys such as models:, found {type(data).__name__}")
    _refuse_duplicates(path, node)
    return Document(path, data, node)


def _refuse_merge_bombs(path: Path, node: yaml.Node | None) -> None:
    """Merge keys (``<<``) over merge keys grow like powers: count before they are expanded."""
    sizes: dict[int, int] = {}

    def size(mapping: yaml.Node) -> int:
        if id(mapping) not in sizes:
            sizes[id(mapping)] = 0  # a mapping that merges itself
            total = 0
            if isinstance(mapping, yaml.MappingNode):
                for key, value in mapping.value:
                    merged = key.value == "<<"
                    parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                    total += sum(size(part) for part in parts) if merged else 1
            sizes[id(mapping)] = total
        return sizes[id(mapping)]

    for mapping in _mappings(node):
        if size(mapping) > _MAX_MERGED_KEYS:
            line = mapping.start_mark.line + 1
            raise ConfigError(f"{path}:{line}: merge keys (<<) grow beyond all bounds here")


def _refuse_duplicates(path: Path, node: yaml.Node | None) -> None:
    for mapping in _mappings(node):
        seen: set[str] = set()
        for key, _ in mapping.value:
            if key.value in seen and key.value != "<<":
                line = key.start_mark.line + 1
                raise ConfigError(f"{path}:{line}: {key.value} stands here twice")
            seen.add(str(key.value))


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    """Every mapping below a node, once each, however often an alias names it."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, yaml.MappingNode):
            yield current
            waiting += [value for _, value in current.value]
        elif isinstance(current, yaml.SequenceNode):
            waiting += current.value


def validate(document: Document) -> ConfigFile:
    """Check a file against the schema.

    Raises:
        ConfigError: up to five mistakes, a line each.
    """
    try:
        file = ConfigFile.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(_explain_all(document, error)) from error
    for role, candidates in file.models.items():
        for index, spec in enumerate(candidates):
            if spec.role is not None and spec.role != role:
                line = line_of(
                    document.node, _as_written(document.node, ("models", role, index, "role"))
                )
                raise ConfigError(
                    f"{document.path}:{line}: models.{role}.role: expected {role!r}, "
                    f"found {spec.role!r}"
                )
    return file


def _explain_all(document: Document, error: ValidationError) -> str:
    # A key misspelt is also a key missing: the first says more.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    return "\n".join(explain(document, cast("dict[str, Any]", one)) for one in problems[:5])


def explain(document: Document, problem: dict[str, Any]) -> str:
    """One of pydantic's errors in the words of the file: where, what was expected, what found."""
    location = _as_written(document.node, problem["loc"])
    keys = [part for part in location if isinstance(part, str)]
    line = line_of(document.node, location)
    where = f"{document.path}:{line}" if line else str(document.path)
    dotted = ".".join(str(part) for part in location) or "file"
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(keys[:-1])
        near = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{where}: {dotted}: unknown key.{hint} Expected one of: {', '.join(valid)}"
    if problem["type"] == "missing":
        return f"{where}: {dotted}: this key is required"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    if problem["type"] == "invalid_key":
        return f"{where}: {dotted}: a key must be text"
    shown = isinstance(value, str | int | float | bool | None) and "in the URL" not in message
    found = f", found {_short(value)}" if shown else ""
    if message.startswith("Input should be"):
        message = message.replace("Input should be", "expected")
    return f"{where}: {dotted}: {message}{found}"


# pydantic adds the member of a union, and which side of a mapping, to an error's location
_TAGS = frozenset({"literal['all']", "list[str]", "[key]"})


def _as_written(node: yaml.Node | None, location: tuple[Any, ...]) -> list[Any]:
    """An error's location in the words of the file: without pydantic's own additions."""
    parts = [part for part in location if part not in _TAGS]
    if len(parts) > 2 and parts[0] == "models" and parts[2] == 0:
        models = _below(node, "models")
        if isinstance(_below(models, parts[1]), yaml.MappingNode):
            del parts[2]  # a single model spec stands where a list may stand
    return parts


def _below(node: yaml.Node | None, key: Any) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == str(key)), None)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a very large number"
    return text if len(text) <= 80 else f"{text[:77]}…"


def line_of(node: yaml.Node | None, location: list[Any]) -> int | None:
    """The line of a key or list item, or of the closest thing around it that is there."""
    line = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line or node.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                return line
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _valid_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = ConfigFile
    for index, key in enumerate(path):
        if index == 1 and path[0] in {"models", "roles"}:
            model = ModelSpec if path[0] == "models" else RoleHints
            continue
        field = model.model_fields.get(key)
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return sorted(model.model_fields)
