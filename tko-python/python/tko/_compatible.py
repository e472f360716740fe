"""The forms of values that scripts for the original SDK give and expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from ._tko import GVK, Package, decode_yaml, encode_yaml

FORMAT = "yaml"
FORMATS = ("yaml", "json", "cbor")


def read_package(package: Any, package_format: str) -> Any:
    """Parses a package that is text or bytes of this format; returns any other package unchanged.

    >>> package = read_package("{apiVersion: v1, kind: Pod, metadata: {name: a}}", "yaml")
    >>> [pod["kind"] for pod in package]
    ['Pod']
    """
    # The format comes before the package, so a package that is passed by position arrives as the format.
    if not isinstance(package_format, str) or package_format not in FORMATS:
        raise ValueError(f"the package format is not one of {', '.join(FORMATS)}; pass a package by its keyword")
    return Package.parse(package, package_format) if isinstance(package, (str, bytes)) else package


def read_new_deployment(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a new deployment, with a package that is not text."""
    new = dict(arguments)
    package_format = new.pop("merge_package_format", FORMAT)
    if "merge_package" in new:
        new["merge_package"] = read_package(new["merge_package"], package_format)
    return new


def read_trigger(trigger: GVK | Mapping[str, str] | None) -> Any:
    """The kind of a trigger that is a GVK or a dict.

    >>> read_trigger({"group": "", "version": "v1", "kind": "Pod"}) == GVK("", "v1", "Pod")
    True
    """
    if not isinstance(trigger, Mapping):
        return trigger
    return GVK(trigger.get("group", ""), trigger.get("version", ""), trigger.get("kind", ""))


class TimeText(str):
    """A time as text, by RFC 3339. The original's times have methods of protobuf."""

    __slots__ = ()

    def ToJsonString(self) -> str:
        """The text, as the method of a protobuf timestamp returns it."""
        return str(self)


class Yaml:
    """Reads and writes YAML 1.2 as `tko.yaml` of the original does, for documents that are maps."""

    def load(self, stream: str | bytes | IO[str] | IO[bytes]) -> Any:
        """Reads one document, a map; None if there is none. Raises ValueError for anything else."""
        text = stream if isinstance(stream, (str, bytes)) else stream.read()
        documents = decode_yaml(text.decode() if isinstance(text, bytes) else text)
        if len(documents) > 1:
            raise ValueError("the YAML text has several documents; expected one map")
        return documents[0] if documents else None

    def dump(self, data: Any, stream: IO[Any]) -> None:
        """Writes one document."""
        stream.write(encode_yaml(data))


yaml = Yaml()
