"""Checks of values, and expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ._tko import Package

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "string": (str,),
    "int": (int,),
    "integer": (int,),
    "float": (float, int),
    "number": (float, int),
    "bool": (bool,),
    "boolean": (bool,),
    "list": (list,),
    "array": (list,),
    "dict": (dict,),
    "map": (dict,),
    "object": (dict,),
    "null": (type(None),),
    "None": (type(None),),
}

KEYS = {"type", "required", "function", "schema"}


def evaluate_expression(text: Any, package: Package) -> Any:
    """Evaluates a text with `{{ … }}`, in which `get(group, version, kind[, name])` is a resource.

    A text that is one expression as a whole becomes the expression's value, with its type. Anything
    but a text is returned as it is.

    >>> package = Package([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"n": 7}}])
    >>> evaluate_expression("{{ get('', 'v1', 'Pod').spec.n }}", package)
    7
    >>> evaluate_expression("pod-{{ get('', 'v1', 'Pod', 'a').spec.n }}", package)
    'pod-7'
    """
    return package.evaluate(text) if isinstance(text, str) else text


def validate_value(name: str, value: Any, complete: bool, schema: Any) -> None:
    """Checks a value; raises ValueError with the name and the reason.

    `schema` is a type (`str`), its name (`"str"`), several of these, or a dict of `type`, `required`
    (default False; checked if `complete`), `function` and `schema`: the schemas of the keys of a dict,
    where unknown keys are wrong.

    `function` gets the value. The value is wrong if the function raises, or returns anything false,
    also None: a function that only raises must return True at its end. The match object of `re` is true.

    >>> validate_value("spec", {"vlan": 17}, True, {"type": dict, "schema": {"vlan": int}})
    >>> validate_value("vlan", 4095, True, {"type": int, "function": lambda vlan: vlan < 4095})
    Traceback (most recent call last):
    ...
    ValueError: vlan: the function of the schema returned False for 4095
    >>> validate_value("spec", {"lan": 17}, True, {"schema": {"vlan": int}})
    Traceback (most recent call last):
    ...
    ValueError: spec.lan: unknown key; expected vlan
    """
    if not isinstance(schema, Mapping):
        schema = {"type": schema}
    unknown = set(schema) - KEYS
    if unknown:
        raise TypeError(f"the schema of {name} has unknown keys {sorted(unknown)}; it knows {sorted(KEYS)}")
    if value is None and not _allows_none(schema.get("type")):
        if complete and schema.get("required"):
            raise ValueError(f"{name}: required")
        return
    if schema.get("type") is not None:
        _check_type(name, value, schema["type"])
    keys = schema.get("schema")
    if keys is not None:
        _check_keys(name, value, complete, keys)
    function: Callable[[Any], Any] | None = schema.get("function")
    if function is not None:
        try:
            result = function(value)
        except Exception as error:
            raise ValueError(f"{name}: {error}") from error
        if not result:
            raise ValueError(f"{name}: the function of the schema returned {result!r} for {value!r}")


def _check_keys(name: str, value: Any, complete: bool, schemas: Mapping[str, Any]) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected dict, found {type(value).__name__}")
    for key in value:
        if key not in schemas:
            raise ValueError(f"{name}.{key}: unknown key; expected {', '.join(schemas)}")
    for key, schema in schemas.items():
        validate_value(f"{name}.{key}", value.get(key), complete, schema)


def _types(wanted: Any) -> Iterable[type]:
    if isinstance(wanted, str):
        if wanted not in TYPES:
            raise TypeError(f"unknown type {wanted!r}; expected one of {', '.join(TYPES)}")
        yield from TYPES[wanted]
    elif isinstance(wanted, type):
        yield wanted
    elif wanted is None:
        yield type(None)
    else:
        for one in wanted:
            yield from _types(one)


def _allows_none(wanted: Any) -> bool:
    return wanted is not None and type(None) in set(_types(wanted))


def _check_type(name: str, value: Any, wanted: Any) -> None:
    types = list(_types(wanted))
    # A bool is an int to Python, but not to Kubernetes.
    fits = bool in types if isinstance(value, bool) else isinstance(value, tuple(types))
    if not fits:
        names = " or ".join(dict.fromkeys(one.__name__ for one in types))
        raise ValueError(f"{name}: expected {names}, found {type(value).__name__}")
