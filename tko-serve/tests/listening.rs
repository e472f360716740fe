//! Listeners, and the rule that keeps open servers off the network.

use std::net::SocketAddr;
use std::sync::Arc;
use tko_core::{Error, ErrorKind};
use tko_serve::{Access, Anyone, BearerTokens, Listen, ServerTls, Sockets, Stack};

fn listen(stack: Stack, address: &str) -> Listen {
    Listen {
        stack,
        address: address.to_owned(),
        port: 0,
    }
}

#[tokio::test]
async fn the_default_is_loopback_of_both_versions_on_one_port() {
    let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
    let addresses = sockets.addresses();
    let port = addresses[0].port();
    assert_eq!(
        addresses,
        [
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
            SocketAddr::from(([127, 0, 0, 1], port)),
        ]
    );
}

#[tokio::test]
async fn a_single_stack_binds_only_its_version() {
    for (stack, address, expected) in [
        (Stack::Ipv6, "", "[::1]"),
        (Stack::Ipv4, "", "127.0.0.1"),
        (Stack::Dual, "::", "[::]"),
        (Stack::Dual, "[::1]", "[::1]"),
        (Stack::Ipv4, "localhost", "127.0.0.1"),
    ] {
        let sockets = Sockets::bind(&listen(stack, address)).await.expect(address);
        let addresses = sockets.addresses();
        assert_eq!(addresses.len(), 1, "{stack} {address:?}: {addresses:?}");
        let text = addresses[0].to_string();
        assert!(text.starts_with(expected), "{text}");
    }
    let refused = Sockets::bind(&listen(Stack::Ipv4, "::1")).await;
    assert_eq!(
        refused.expect_err("not IPv4").kind(),
        ErrorKind::BadArgument
    );
}

#[tokio::test]
async fn the_dual_wildcard_accepts_both_versions() {
    let sockets = Sockets::bind(&listen(Stack::Dual, "::")).await.expect("::");
    let port = sockets.addresses()[0].port();
    for host in ["::1", "127.0.0.1"] {
        tokio::net::TcpStream::connect((host, port))
            .await
            .expect(host);
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused_with_a_remedy() {
    let first = Sockets::bind(&Listen::default()).await.expect("loopback");
    let again = Listen {
        port: first.addresses()[0].port(),
        ..Listen::default()
    };
    let error = Sockets::bind(&again).await.expect_err("it is in use");
    assert!(error.to_string().contains("choose another port"), "{error}");
}

#[test]
fn the_network_requires_tls_and_authentication_or_insecure() {
    let network = [SocketAddr::from(([0; 16], 50_050))];
    let loopback = [
        SocketAddr::from(([127, 0, 0, 1], 1)),
        SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], 1)),
    ];
    let tokens = Arc::new(BearerTokens::parse("0123456789abcdef").expect("a token"));
    let tls = |ca: Option<&[u8]>| ServerTls::new(b"", b"", ca);
    let optional = tls(Some(b"")).with_optional_client_certificate();
    let open = Access::new;
    for (access, fine) in [
        (open(), false),
        (open().authentication(tokens.clone()), false),
        (open().tls(tls(None)), false),
        (open().tls(tls(Some(b""))), true),
        (open().tls(optional), false),
        (open().tls(tls(None)).authentication(tokens), true),
        (
            open()
                .authentication(Arc::new(Anyone::new()))
                .tls(tls(None)),
            false,
        ),
        (open().insecure(true), true),
    ] {
        assert_eq!(access.check(&network).is_ok(), fine, "{access:?}");
        assert!(access.check(&loopback).is_ok(), "{access:?}");
    }
    let error = Access::default().check(&network).expect_err("open");
    let Error::BadArgument { message, .. } = error else {
        panic!("{error:?}");
    };
    assert!(
        message.contains("[::]:50050") && message.contains("insecure"),
        "{message}"
    );
}

#[test]
fn token_files_have_one_token_per_line_of_at_least_16_characters() {
    let file = "# for the lab\n\n0123456789abcdef\n  fedcba9876543210  \n";
    assert_eq!(
        format!("{:?}", BearerTokens::parse(file).expect("two")),
        "BearerTokens(2)"
    );
    for bad in [
        "",
        "# nothing\n",
        "short",
        "0123456789abcdef\nwith a space in it",
    ] {
        assert!(BearerTokens::parse(bad).is_err(), "{bad:?}");
    }
}
