"""A check of JSON against a JSON Schema, of as many keywords as the project's schemas use."""

from collections.abc import Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}
SAID = {"$schema", "$defs", "title", "description"}  # keywords that ask for nothing
KNOWN = SAID | {
    "$ref", "type", "const", "enum", "required", "properties", "additionalProperties", "items", "anyOf", "minimum",
    "maximum",
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> Iterator[str]:
    """Where and how the value breaks the schema. ValueError for a keyword that is not known here."""
    if unknown := schema.keys() - KNOWN:
        raise ValueError(f"unknown keywords {sorted(unknown)}")
    if "$ref" in schema:
        yield from faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where}: {value!r} is no {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "anyOf" in schema and all(list(faults(value, each, root, where)) for each in schema["anyOf"]):
        yield f"{where}: {value!r} fits nothing"
    if _is(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{where}: {value} is out of range"
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), root, f"{where}[{place}]")
    if isinstance(value, dict):
        yield from (f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value)
        known = schema.get("properties", {})
        for name, item in value.items():
            yield from faults(item, known.get(name, schema.get("additionalProperties", {})), root, f"{where}.{name}")


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
