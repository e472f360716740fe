# Licensed under the Apache License, Version 2.0; see LICENSE.
"""The sites of TKO as an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: sites
short_description: Sites of TKO
version_added: 0.1.0
description:
  - Each site is a host. Each value of its metadata is a group, such as C(Site_region_west) for C(Site.region=west).
  - Needs a file whose name ends in C(tko.yaml), C(tko.yml), C(tko_sites.yaml) or C(tko_sites.yml).
  - A host has the variables C(tko_site_id), C(tko_template_id) and C(tko_metadata), and on demand C(tko_deployments) and
    C(tko_package).
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Token that says that the file is for this plugin.
    type: str
    required: true
    choices: [tko.tko.sites]
  server:
    description: Address of the gRPC API, C(HOST:PORT).
    type: str
    default: "[::1]:50050"
    env:
      - name: TKO_GRPC_SERVER
  token:
    description: Bearer token.
    type: str
  token_path:
    description: File with the bearer token.
    type: path
    env:
      - name: TKO_GRPC_TOKEN
  tls:
    description: Connect with TLS, and trust the CAs of the operating system.
    type: bool
    default: false
  ca:
    description: File with the CAs to trust, as PEM.
    type: path
  client_cert:
    description: File with the client's certificate, as PEM.
    type: path
  client_key:
    description: File with the key of O(client_cert), as PEM.
    type: path
  server_name:
    description: Name that the server's certificate must have, if it differs from the host in O(server).
    type: str
  timeout:
    description: Longest time for one request, in seconds.
    type: float
  site_ids:
    description: Only sites whose id matches one of these patterns; V(*) matches anything within a segment, V(**) anything.
    type: list
    elements: str
    default: []
  template_ids:
    description: Only sites whose template matches one of these patterns.
    type: list
    elements: str
    default: []
  metadata:
    description: Only sites whose metadata match these patterns; V(*) matches anything.
    type: dict
    default: {}
  metadata_groups:
    description:
      - Metadata keys whose values become groups, as shell patterns.
      - Name them if some keys have a different value for each site.
    type: list
    elements: str
    default: ["*"]
  hostname:
    description: Jinja template of the host's name; it sees the host's variables.
    type: str
    default: "{{ tko_site_id }}"
  deployments:
    description: Whether to add C(tko_deployments), a list of the site's deployments.
    type: bool
    default: false
  packages:
    description: Whether to add C(tko_package), the list of the site's resources.
    type: bool
    default: false
requirements:
  - The Python package C(tko), from the folder C(tko-python) of TKO
author: The TKO authors (@tko)
"""

EXAMPLES = r"""
# All sites of the west, with the address of their package's resource as the address of the host.
plugin: tko.tko.sites
server: tko.example.com:50050
metadata:
  Site.region: west
compose:
  ansible_host: tko_metadata['Site.address']
keyed_groups:
  - key: tko_template_id
    prefix: made_from
cache: true
"""

import fnmatch

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

try:
    import tko

    HAS_TKO = True
except ImportError:
    HAS_TKO = False

from ansible_collections.tko.tko.plugins.module_utils.server import connect, described, texts, visible

ENDINGS = tuple(f"{name}.{ending}" for name in ("tko", "tko_sites") for ending in ("yaml", "yml"))

CONNECTION = ("server", "token", "token_path", "tls", "ca", "client_cert", "client_key", "server_name", "timeout")

# What a host shows of a deployment.
SHOWN = ("deployment_id", "template_id", "metadata", "prepared", "approved")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Hosts and groups made of sites and their metadata."""

    NAME = "tko.tko.sites"

    def verify_file(self, path):
        """Whether this file is for this plugin, by its name."""
        return super().verify_file(path) and path.endswith(ENDINGS)

    def parse(self, inventory, loader, path, cache=True):
        """Fills the inventory, from the cache if it is on."""
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        if not HAS_TKO:
            raise AnsibleParserError("the inventory plugin tko.tko.sites needs the Python package tko, from tko-python")
        for site in self.sites(path, cache):
            self.add(site)

    def sites(self, path, cache):
        """The variables of all sites."""
        key = self.get_cache_key(path)
        use = cache and self.get_option("cache")
        if use:
            try:
                return self._cache[key]
            except KeyError:
                pass
        sites = self.read()
        if self.get_option("cache"):
            self._cache[key] = sites
        return sites

    def read(self):
        """The variables of all sites, from the server."""
        packages = self.get_option("packages")
        try:
            with connect({name: self.get_option(name) for name in CONNECTION}) as client:
                deployments = self.deployments(client) if self.get_option("deployments") else None
                listing = client.list_sites(
                    list(self.get_option("site_ids")) or None,
                    list(self.get_option("template_ids")) or None,
                    texts(self.get_option("metadata")) or None,
                    packages=packages,
                )
                return [variables(site, packages, deployments) for site in listing]
        except (tko.Error, OSError, TypeError, ValueError) as error:
            raise AnsibleParserError(f"cannot read the sites of TKO: {error}") from error

    def deployments(self, client):
        """The deployments of each selected site."""
        found = {}
        site_ids = list(self.get_option("site_ids")) or None
        for deployment in client.list_deployments(site_id_patterns=site_ids):
            row = described(deployment)
            shown = {name: row[name] for name in SHOWN}
            found.setdefault(deployment.site_id, []).append(shown)
        return found

    def add(self, site):
        """Adds a host with its variables and groups."""
        strict = self.get_option("strict")
        # Users of TKO write metadata and packages. Ansible must not evaluate them as templates, which can run programs.
        site = wrap_var(site)
        self.templar.available_variables = site
        name = self.inventory.add_host(str(self._compose_name(site)))
        for variable, value in site.items():
            self.inventory.set_variable(name, variable, value)
        patterns = self.get_option("metadata_groups")
        for key, value in site["tko_metadata"].items():
            if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns):
                group = self.inventory.add_group(self._sanitize_group_name(f"{key}_{value}"))
                self.inventory.add_child(group, name)
        self._set_composite_vars(self.get_option("compose"), site, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), site, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), site, name, strict=strict)

    def _compose_name(self, site):
        """The name of a host."""
        template = self.get_option("hostname")
        if template == "{{ tko_site_id }}":
            return site["tko_site_id"]
        return self.templar.template(template)


def variables(site, packages, deployments):
    """The variables of a host."""
    row = {
        "tko_site_id": site.site_id,
        "tko_template_id": site.template_id,
        "tko_metadata": visible(site.metadata),
    }
    if packages:
        row["tko_package"] = site.get_package().to_list()
    if deployments is not None:
        row["tko_deployments"] = deployments.get(site.site_id, [])
    return row
