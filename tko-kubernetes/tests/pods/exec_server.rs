//! A server that speaks the exec protocol of Kubernetes over WebSocket, as documented for
//! `v4.channel.k8s.io` and `v5.channel.k8s.io`, and runs programs of this machine.

use futures_util::{SinkExt, StreamExt};
use http::{Response, StatusCode};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request};

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It runs the program, and offers this version of the protocol.
    Runs(&'static str),
    /// There is no such pod.
    NotFound,
    /// The connection ends after the first output.
    Breaks,
}

/// Starts a server; it ends with the runtime.
pub(crate) async fn start(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, behaviour));
        }
    });
    address
}

#[allow(clippy::result_large_err)] // The library's signature.
async fn serve(stream: TcpStream, behaviour: Behaviour) {
    let mut command = Vec::new();
    let accepted = tokio_tungstenite::accept_hdr_async(
        stream,
        |request: &Request,
         mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
            let Behaviour::Runs(protocol) = behaviour else {
                if behaviour == Behaviour::Breaks {
                    command = vec!["echo".to_owned(), "first".to_owned()];
                    let protocol = "v5.channel.k8s.io".parse().expect("a header");
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", protocol);
                    return Ok(response);
                }
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": "pods \"worker\" not found",
                });
                let mut refusal: ErrorResponse = Response::new(Some(status.to_string()));
                *refusal.status_mut() = StatusCode::NOT_FOUND;
                return Err(refusal);
            };
            assert_eq!(
                request.uri().path(),
                "/api/v1/namespaces/tko/pods/worker/exec"
            );
            let query = request.uri().query().unwrap_or_default();
            assert!(
                query.contains("stdin=true") && query.contains("container=main"),
                "{query}"
            );
            let parts = query
                .split('&')
                .filter_map(|part| part.strip_prefix("command="));
            command = parts.map(decoded).collect();
            response.headers_mut().insert(
                "sec-websocket-protocol",
                protocol.parse().expect("a header"),
            );
            Ok(response)
        },
    );
    let Ok(socket) = accepted.await else { return };
    let (mut sender, mut receiver) = socket.split();
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it is installed");
    let (out, mut messages) = mpsc::unbounded_channel::<Vec<u8>>();
    let readers = [
        tokio::spawn(forward(1, child.stdout.take().expect("piped"), out.clone())),
        tokio::spawn(forward(2, child.stderr.take().expect("piped"), out)),
    ];
    let mut stdin = child.stdin.take();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => {
                    if sender.send(Message::binary(message)).await.is_err() {
                        return;
                    }
                    if behaviour == Behaviour::Breaks {
                        return;
                    }
                }
                None => break,
            },
            message = receiver.next() => match message {
                Some(Ok(Message::Binary(bytes))) => match &bytes[..] {
                    [0, data @ ..] => {
                        if let Some(stdin) = &mut stdin {
                            let _ = stdin.write_all(data).await;
                        }
                    }
                    // The end of a channel, which only v5 has.
                    [255, 0] => stdin = None,
                    _ => {}
                },
                Some(Ok(_)) => {}
                // The connection is gone: so is the program.
                _ => return,
            },
        }
    }
    for reader in readers {
        let _ = reader.await;
    }
    let code = child.wait().await.expect("it ends").code().unwrap_or(-1);
    let status = match code {
        0 => json!({"status": "Success"}),
        code => json!({
            "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
    };
    let mut message = vec![3];
    message.extend(status.to_string().into_bytes());
    let _ = sender.send(Message::binary(message)).await;
    let _ = sender.close().await;
    // A connection that is closed before everything is read is reset, and the client may lose the
    // status.
    while let Some(Ok(_)) = receiver.next().await {}
}

async fn forward(
    channel: u8,
    mut from: impl AsyncRead + Unpin,
    to: mpsc::UnboundedSender<Vec<u8>>,
) {
    let mut buffer = vec![0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let mut message = vec![channel];
        message.extend(&buffer[..count]);
        let _ = to.send(message);
    }
}

/// A value of a query.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).expect("hexadecimal"));
                at += 2;
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).expect("UTF-8")
}
