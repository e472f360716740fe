//! Connections that are idle, and the end of the server.

use crate::harness::{TIME, TestServer};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads the head of a response, and no byte of its body.
async fn head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = client.read_u8().await;
        head.push(byte.expect("the server closed the connection"));
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Makes a request without a body, and reads the response.
async fn ask(client: &mut TcpStream) {
    let request = b"GET /api/about HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).await.expect("it is open");
    let head = head(client).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let lines = head.lines().map(str::to_ascii_lowercase);
    let mut lengths = lines.filter_map(|line| {
        let length = line.strip_prefix("content-length:")?;
        length.trim().parse::<usize>().ok()
    });
    let mut body = vec![0; lengths.next().expect("the length of the body")];
    client.read_exact(&mut body).await.expect("the body");
}

#[tokio::test]
async fn an_idle_connection_stays_open_as_long_as_proxies_keep_it() {
    let server = TestServer::start().await;
    let mut client = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    ask(&mut client).await;
    // The time of the clock of tests, which passes at once.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(10)).await;
    tokio::time::resume();
    ask(&mut client).await;
}

#[tokio::test]
async fn new_connections_are_refused_while_requests_are_finished() {
    let mut server = TestServer::start().await;
    let mut client = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let request = "PUT /api/v1/templates/t HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
                   expect: 100-continue\r\n\r\n";
    client
        .write_all(request.as_bytes())
        .await
        .expect("it is open");
    // The server says so when it waits for the body.
    let go_on = head(&mut client).await;
    assert!(go_on.starts_with("HTTP/1.1 100"), "{go_on}");
    server.begin_stop();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    // Less than the time in which the server finishes requests.
    let refused = tokio::time::timeout(Duration::from_secs(5), refused).await;
    refused.expect("the listeners are closed");
    client.write_all(b" ").await.expect("it is open");
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(TIME, server.stop_now())
        .await
        .expect("it ends after the last request");
}
