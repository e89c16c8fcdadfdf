"""What a structured answer is to be: a class or a schema, and the JSON schema of either."""

from __future__ import annotations

from typing import Any

from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any] | type
"""A pydantic class, a TypedDict, a JSON schema or a function in OpenAI's form."""

_FUNCTION_KEYS = frozenset({"parameters", "function", "input_schema"})


class _Schema(GenerateJsonSchema):
    """pydantic's schema, with decimals as numbers: as texts of any kind they come out wrong."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A number of so many places."""
        bounds: Any = {
            key: schema[key] for key in ("ge", "gt", "le", "lt", "multiple_of") if key in schema
        }
        if schema.get("decimal_places") is not None:
            bounds.setdefault("multiple_of", 10.0 ** -schema["decimal_places"])
        return self.float_schema(core_schema.float_schema(**bounds))


def schema_of(schema: Schema) -> dict[str, Any]:
    """The JSON schema of a target, whole.

    LangChain's conversion drops recursion and a list at the root and wants a title, so it is used
    for TypedDicts and functions only.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema(schema_generator=_Schema)
    if is_pydantic(schema):
        old: dict[str, Any] = schema.schema()  # type: ignore[union-attr]
        return old
    if isinstance(schema, dict) and not schema.keys() & _FUNCTION_KEYS:
        return schema
    return convert_to_json_schema(schema)


def is_pydantic(schema: Schema) -> bool:
    """Whether answers become instances: a pydantic class, of version 1 or 2."""
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def instance_of(schema: Any, value: object, text: str) -> Any:
    """The instance of a pydantic class for a value, given also as JSON text.

    Raises:
        ValueError: it does not fit; one line for each thing that does not.
    """
    try:
        if issubclass(schema, BaseModel):
            return schema.model_validate_json(text)  # strict classes take dates from JSON only
        return schema.parse_obj(value)
    except ValidationError as error:
        raise ValueError(
            "; ".join(
                f"{'/'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}"
                for one in error.errors(include_url=False, include_context=False)
            )
        ) from error
