"""TLS, tokens and client certificates between a client and a server."""

import asyncio

import pytest
import trustme

import tko

TOKEN = "open-sesame-to-all"
OTHER = "open-barley-to-all"


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """PEM files: the CA, a certificate of localhost with its key, and one of a client."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
    for name, certificate in [
        ("server", authority.issue_cert("localhost")),
        ("client", authority.issue_cert("client@example.org", common_name="operator")),
    ]:
        certificate.private_key_pem.write_to_path(folder / f"{name}-key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


@pytest.fixture(scope="module")
def server(pem):
    """The address, by name, of a server with TLS and a token."""
    store = tko.Store()
    store.register_site("edge/1")
    with store.serve(certificate=pem / "server.pem", key=pem / "server-key.pem", tokens=[TOKEN]) as server:
        yield server.address.replace("127.0.0.1", "localhost")


def sites(server, **options):
    """The ids of the sites that a new client sees."""
    with tko.Client(server, timeout=10, **options) as client:
        return [site.site_id for site in client.list_sites()]


def test_a_client_with_the_ca_and_the_token_is_admitted(server, pem):
    assert sites(server, ca=pem / "ca.pem", token=TOKEN) == ["edge/1"]


def test_the_name_in_the_certificate_may_be_given(server, pem):
    address = server.replace("localhost", "127.0.0.1")
    assert sites(address, ca=pem / "ca.pem", token=TOKEN, server_name="localhost") == ["edge/1"]
    with pytest.raises(tko.Unavailable):
        sites(address, ca=pem / "ca.pem", token=TOKEN, server_name="elsewhere.example.org")


def test_a_wrong_token_is_unauthenticated(server, pem):
    for token in (None, OTHER):
        with pytest.raises(tko.Unauthenticated):
            sites(server, ca=pem / "ca.pem", token=token)


def test_a_server_of_another_ca_is_not_trusted(server, pem):
    for options in [{"ca": pem / "other-ca.pem"}, {"tls": True}, {}]:
        with pytest.raises(tko.Unavailable):
            sites(server, token=TOKEN, **options)


def test_asyncio_has_the_same_options(server, pem):
    async def main():
        async with tko.AsyncClient(server, ca=pem / "ca.pem", token=TOKEN) as client:
            assert [site.site_id async for site in client.list_sites()] == ["edge/1"]
        async with tko.AsyncClient(server, ca=pem / "ca.pem", token=OTHER) as client:
            with pytest.raises(tko.Unauthenticated):
                await client.about()

    asyncio.run(main())


def test_a_client_certificate_is_a_credential(pem):
    files = {"certificate": pem / "client.pem", "key": pem / "client-key.pem"}
    store = tko.Store()
    store.register_site("edge/2")
    tls = {"certificate": pem / "server.pem", "key": pem / "server-key.pem", "client_ca": pem / "ca.pem"}
    with store.serve(**tls) as server:
        address = server.address.replace("127.0.0.1", "localhost")
        assert sites(address, ca=pem / "ca.pem", **files) == ["edge/2"]
        with pytest.raises(tko.Error):
            sites(address, ca=pem / "ca.pem")
    with pytest.raises(TypeError, match="certificate and key go together"):
        tko.Client("localhost:1", ca=pem / "ca.pem", certificate=pem / "client.pem")


def test_the_network_needs_tls_and_authentication(pem):
    store = tko.Store()
    for options in [{}, {"tokens": [TOKEN]}, {"certificate": pem / "server.pem", "key": pem / "server-key.pem"}]:
        with pytest.raises(tko.BadArgument, match="TLS|authentication"):
            store.serve("0.0.0.0", **options)
    with pytest.raises(tko.BadArgument, match="at least 16"):
        store.serve(tokens=["short"])
    with pytest.raises(TypeError):
        store.serve(tokens=TOKEN)
