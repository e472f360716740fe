# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Documentation of the options for packages."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that give a package."""

    DOCUMENTATION = r"""
options:
  package:
    description:
      - The resources, as a list of maps or as YAML text with several documents.
      - Empty if neither O(package) nor O(src) is given.
    type: raw
  src:
    description:
      - File, or folder whose files C(*.yaml), C(*.yml) and C(*.json) are read in the order of their paths.
      - It is read on the host that runs the module.
    type: path
  metadata:
    description: Metadata. They win over those that TKO collects from the package.
    type: dict
    default: {}
"""
