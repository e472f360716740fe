//! Where servers listen, and where they refuse to.

use std::net::SocketAddr;
use tko_core::{Error, ErrorKind};
use tko_grpc::server::{Access, Listen, Sockets, Stack, Tls, Tokens};

fn listen(stack: Stack, address: &str) -> Listen {
    Listen {
        stack,
        address: address.to_owned(),
        port: 0,
    }
}

#[tokio::test]
async fn without_an_address_it_is_loopback_of_both_versions_at_one_port() {
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
async fn a_stack_takes_its_version_alone() {
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
async fn the_wildcard_of_both_versions_answers_both() {
    let sockets = Sockets::bind(&listen(Stack::Dual, "::")).await.expect("::");
    let port = sockets.addresses()[0].port();
    for host in ["::1", "127.0.0.1"] {
        tokio::net::TcpStream::connect((host, port))
            .await
            .expect(host);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_with_what_to_do() {
    let first = Sockets::bind(&Listen::default()).await.expect("loopback");
    let again = Listen {
        port: first.addresses()[0].port(),
        ..Listen::default()
    };
    let error = Sockets::bind(&again).await.expect_err("it is taken");
    assert!(error.to_string().contains("give another port"), "{error}");
}

#[test]
fn the_network_takes_tls_and_authentication_or_an_explicit_word() {
    let network = [SocketAddr::from(([0; 16], 50_050))];
    let loopback = [
        SocketAddr::from(([127, 0, 0, 1], 1)),
        SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], 1)),
    ];
    let tokens = || Some(Tokens::parse("0123456789abcdef").expect("a token"));
    let tls = |ca: Option<&[u8]>| Some(Tls::new(b"", b"", ca));
    let access = |tls, tokens, insecure| Access {
        tls,
        tokens,
        insecure,
    };
    for (access, fine) in [
        (access(None, None, false), false),
        (access(None, tokens(), false), false),
        (access(tls(None), None, false), false),
        (access(tls(Some(b"")), None, false), true),
        (access(tls(None), tokens(), false), true),
        (access(None, None, true), true),
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
fn tokens_are_one_a_line_and_not_short() {
    let file = "# for the lab\n\n0123456789abcdef\n  fedcba9876543210  \n";
    assert_eq!(
        format!("{:?}", Tokens::parse(file).expect("two")),
        "Tokens(2)"
    );
    for bad in [
        "",
        "# nothing\n",
        "short",
        "0123456789abcdef\nwith a space in it",
    ] {
        assert!(Tokens::parse(bad).is_err(), "{bad:?}");
    }
}
