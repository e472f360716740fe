# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Documentation of the options that select deployments."""

from __future__ import annotations


class ModuleDocFragment:
    """The filters of a listing of deployments."""

    DOCUMENTATION = r"""
options:
  deployment_id:
    description: Id, or pattern of ids.
    type: str
  name:
    description: Name that M(tko.tko.deployment) has given.
    type: str
  parent_deployment_id:
    description: Only children of this deployment.
    type: str
  template_id:
    description: Id or pattern of ids of templates.
    type: str
  site_id:
    description: Id or pattern of ids of sites.
    type: str
  metadata:
    description: Patterns of metadata values. All must match.
    type: dict
    default: {}
  template_metadata:
    description: Patterns of metadata values of the template.
    type: dict
    default: {}
  site_metadata:
    description: Patterns of metadata values of the site.
    type: dict
    default: {}
notes:
  - In patterns of ids, V(*) matches anything within a segment and V(**) anything.
    In patterns of metadata values, V(*) matches anything. V(\\) takes the next character literally.
"""
