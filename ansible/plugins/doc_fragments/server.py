# Licensed under the Apache License, Version 2.0; see LICENSE.
"""Documentation of the options that all modules have."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of a connection to a server."""

    DOCUMENTATION = r"""
options:
  server:
    description:
      - Address of the gRPC API, C(HOST:PORT).
      - Defaults to the environment variable E(TKO_GRPC_SERVER), or V([::1]:50050).
    type: str
    aliases: [host]
  token:
    description: Bearer token.
    type: str
  token_path:
    description:
      - File with the bearer token, on the host that runs the module.
      - Defaults to the environment variable E(TKO_GRPC_TOKEN).
    type: path
  tls:
    description:
      - Connect with TLS, and trust the CAs of the operating system.
      - Any of O(ca), O(client_cert) and O(server_name) turns it on, too.
    type: bool
    default: false
  ca:
    description: File with the CAs to trust, as PEM.
    type: path
  client_cert:
    description: File with the client's certificate, as PEM. Needs O(client_key).
    type: path
  client_key:
    description: File with the key of O(client_cert), as PEM.
    type: path
  server_name:
    description: Name that the server's certificate must have, if it differs from the host in O(server).
    type: str
  timeout:
    description: Longest time for one request, in seconds. The client's default if omitted.
    type: float
requirements:
  - Python 3.10 or newer on the host that runs the module
  - The Python package C(tko), from the folder C(tko-python) of TKO
"""
