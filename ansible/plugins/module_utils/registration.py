# Licensed under the Apache License, Version 2.0; see LICENSE.
"""What the modules `template`, `site` and `plugin` do: create, replace or delete one entity."""

from __future__ import annotations

from .content import as_package, difference, yaml
from .server import described, find, visible, warn_of_violations


class Registration:
    """An entity as it shall be, and the calls that read, write and delete it.

    `facts` maps the entity's fields to their wanted values; `package` is None for plugins."""

    def __init__(self, label, key, read, write, remove):
        self.label = label
        self.key = key
        self.read = read
        self.write = write
        self.remove = remove
        self.facts = {}
        self.package = None

    def set_package(self, package, metadata, under=None, inherited=None):
        """Sets the wanted package, merged into that of a template, and the metadata that come with both."""
        package = as_package(package)
        self.package = package if under is None else under.merge(package)
        self.facts["metadata"] = {**(inherited or {}), **visible(self.package.metadata()), **metadata}

    def run(self, module):
        """Brings the entity to the state that the module's option `state` asks for."""
        before = find(self.read)
        if module.params["state"] == "absent":
            changed = self.delete(module, before)
        else:
            changed = self.register(module, before)
        result = {"changed": changed}
        if module._diff:
            result["diff"] = self.diff(before, module.params["state"] == "present")
        after = before if module.check_mode else find(self.read)
        if after is not None and module.params["state"] == "present":
            result[self.key] = described(after)
        module.exit_json(**result)

    def delete(self, module, before):
        """Deletes the entity if it exists."""
        if before is None or getattr_or_none(before, "deleting"):
            return False
        if not module.check_mode:
            self.remove()
        return True

    def register(self, module, before):
        """Creates or replaces the entity if it differs."""
        if before is not None and not self.differs(before):
            return False
        if module.check_mode:
            if self.package is not None:
                warn_of_violations(module, self.package, complete=self.label != "template")
            return True
        version = self.write()
        return before is None or version != before.version

    def differs(self, before):
        """Whether the existing entity is another than the wanted one."""
        if self.current(before) != self.facts:
            return True
        return self.package is not None and before.get_package() != self.package

    def current(self, before):
        """The existing values of the wanted fields."""
        existing = described(before)
        return {name: existing.get(name) for name in self.facts}

    def diff(self, before, present):
        """The differences, for `--diff`."""
        if not present and before is not None and getattr_or_none(before, "deleting"):
            return []
        old = {} if before is None else self.current(before)
        new = self.facts if present else {}
        entries = []
        if old != new:
            entries.append(difference(self.label, old, new))
        if self.package is not None or (not present and before is not None and self.label != "plugin"):
            package = None if before is None else before.get_package()
            old, new = yaml(package), yaml(self.package if present else None)
            if old != new:
                entries.append(difference(f"package of {self.label}", old, new))
        return entries


def getattr_or_none(entity, name):
    """A field of an entity, None if it has none."""
    try:
        return getattr(entity, name)
    except AttributeError:
        return None
