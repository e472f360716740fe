//! A process without free file descriptors. The only test of its program, because the limit is of
//! the whole process.
#![cfg(unix)]

use futures_util::StreamExt;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::pin::pin;
use std::time::Duration;
use tko_serve::{AcceptSettings, Listen, Sockets, accept};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

/// S3: accepting continues when descriptors run out, and the oldest unauthenticated
/// connection gives way.
#[tokio::test]
async fn s3_a_process_without_free_descriptors_goes_on_accepting() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(256);
    setrlimit(Resource::Nofile, limit).expect("lower than before");
    let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
    let address = sockets.addresses()[0];
    let broken = CancellationToken::new();
    let mut accepted =
        pin!(accept(sockets, &AcceptSettings::default(), &broken).expect("no TLS to be wrong"));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let next = tokio::time::timeout(TIME, accepted.next()).await;
    let mut oldest = next.expect("in time").expect("no end").expect("accepted");

    // Nothing is free; the next is accepted only because the oldest is closed.
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let closing = async {
        let mut byte = [0];
        let read = tokio::time::timeout(TIME, oldest.read(&mut byte)).await;
        read.expect("in time").expect_err("it gives way");
        drop(oldest);
    };
    let next = async { tokio::time::timeout(TIME, accepted.next()).await };
    let (next, ()) = tokio::join!(next, closing);
    let second = next.expect("in time").expect("no end").expect("accepted");

    // With free ones again, all are accepted.
    drop(taken);
    let next = tokio::time::timeout(TIME, accepted.next()).await;
    let third = next.expect("in time").expect("no end").expect("accepted");
    assert_ne!(second.peer().address(), third.peer().address());
}
