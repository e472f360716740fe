//! Requests of attackers. They continue until their threads end.

use futures_util::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, Metadata, NewSite, Package, SiteId};
use tko_grpc::client::{Client, ClientSettings};
use tko_grpc::proto;
use tko_grpc::proto::data_client::DataClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

/// Clients of an attacker that repeat a request.
const CLIENTS: usize = 4;

/// Bytes that are sent at once.
const PART: usize = 16 << 10;

/// The service that is attacked, and the position of its port.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Grpc = 0,
    Web = 1,
    Kubernetes = 2,
}

impl Target {
    /// The path and the content type of a request with a package.
    fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::Grpc => ("/tko.Data/registerTemplate", "application/grpc"),
            Self::Web => ("/api/v1/templates/large", "application/yaml"),
            Self::Kubernetes => (
                "/apis/tko.nephio.org/v1alpha1/templates",
                "application/yaml",
            ),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Grpc | Self::Kubernetes => "POST",
            Self::Web => "PUT",
        }
    }
}

/// What attackers send.
#[derive(Clone)]
pub(super) enum Sender {
    /// Connections that make no request.
    Silence(usize),
    /// Requests that claim to be large, send this many bytes, and then nothing.
    Unfinished {
        target: Target,
        /// The bytes before all others.
        head: Bytes,
        path: &'static str,
        connections: usize,
        streams: usize,
        bytes: usize,
    },
    /// The package of a template, again and again.
    Template {
        text: Bytes,
        timeout: Option<Duration>,
    },
    /// A package over HTTP, again and again.
    Put(Target, Bytes),
    /// A site with metadata of this many bytes, again and again.
    Metadata(Arc<str>),
    /// A site with this many keys, again and again.
    Keys(Metadata),
}

impl Sender {
    pub(super) fn silence(connections: usize) -> Self {
        Self::Silence(connections)
    }

    /// Messages of gRPC that claim 64 MiB.
    pub(super) fn messages(connections: usize, streams: usize, bytes: usize) -> Self {
        let mut head = vec![0];
        head.extend(u32::to_be_bytes(64 << 20));
        Self::Unfinished {
            target: Target::Grpc,
            head: head.into(),
            path: Target::Grpc.request().0,
            connections,
            streams,
            bytes,
        }
    }

    /// Bodies of HTTP.
    pub(super) fn bodies(target: Target, connections: usize, streams: usize, bytes: usize) -> Self {
        Self::Unfinished {
            target,
            head: Bytes::from_static(b"apiVersion: v1\n"),
            path: target.request().0,
            connections,
            streams,
            bytes,
        }
    }

    /// Streams of requests without a message.
    pub(super) fn streams(connections: usize, streams: usize) -> Self {
        Self::Unfinished {
            target: Target::Grpc,
            head: Bytes::new(),
            path: "/tko.v1alpha2.Data/CreateDeployments",
            connections,
            streams,
            bytes: 0,
        }
    }

    pub(super) fn packages(text: Vec<u8>) -> Self {
        Self::Template {
            text: text.into(),
            timeout: None,
        }
    }

    /// Templates whose sender does not wait for an answer.
    pub(super) fn late(text: Vec<u8>) -> Self {
        Self::Template {
            text: text.into(),
            timeout: Some(Duration::from_millis(50)),
        }
    }

    pub(super) fn put(target: Target, text: Vec<u8>) -> Self {
        Self::Put(target, text.into())
    }

    pub(super) fn metadata(bytes: usize) -> Self {
        Self::Metadata("v".repeat(bytes).into())
    }

    pub(super) fn keys(count: usize) -> Self {
        Self::Keys((0..count).map(|n| (format!("key{n}"), "v")).collect())
    }

    /// Sends on these threads, to the server with these ports.
    pub(super) fn start(&self, threads: &Runtime, ports: [u16; 3]) {
        let one = matches!(self, Self::Silence(_) | Self::Unfinished { .. });
        for _ in 0..if one { 1 } else { CLIENTS } {
            threads.spawn(self.clone().send(ports));
        }
    }

    async fn send(self, ports: [u16; 3]) {
        let [grpc, ..] = ports;
        match self {
            Self::Silence(connections) => silence(grpc, connections).await,
            Self::Unfinished {
                target,
                head,
                path,
                connections,
                streams,
                bytes,
            } => {
                let port = ports[target as usize];
                for _ in 0..connections {
                    let sender: SendRequest<_> = connected(port).await;
                    for _ in 0..streams {
                        let body = unfinished(head.clone(), bytes);
                        let request = request(target, port, path, body);
                        let sent = sender.clone().send_request(request);
                        tokio::spawn(async move { drop(sent.await) });
                    }
                }
                std::future::pending::<()>().await;
            }
            Self::Template { text, timeout } => loop {
                // All late requests share a connection.
                let mut client = existing(grpc);
                for _ in 0..if timeout.is_some() { 100 } else { 1 } {
                    let mut request = tonic::Request::new(large(&text));
                    if let Some(timeout) = timeout {
                        request.set_timeout(timeout);
                    }
                    drop(client.register_template(request).await);
                }
            },
            Self::Put(target, text) => {
                let port = ports[target as usize];
                let mut sender: SendRequest<_> = connected(port).await;
                loop {
                    let body = Full::new(text.clone());
                    let request = request(target, port, target.request().0, body);
                    match sender.send_request(request).await {
                        Ok(answer) => drop(answer.into_body().collect().await),
                        Err(_) => sender = connected(port).await,
                    }
                }
            }
            Self::Metadata(value) => loop {
                let site = proto::Site {
                    site_id: "huge".to_owned(),
                    metadata: [("k".to_owned(), value.to_string())].into(),
                    ..Default::default()
                };
                drop(existing(grpc).register_site(site).await);
            },
            Self::Keys(metadata) => loop {
                let settings = ClientSettings::new(format!("127.0.0.1:{grpc}"));
                let client = Client::new(settings).expect("an address");
                let site = NewSite::new(SiteId::new("many").expect("an id"), Package::default());
                let site = site.metadata(metadata.clone());
                client.register_site(site).await.expect_err("too many");
            },
        }
    }
}

/// Keeps this many connections open, the oldest giving way to the next.
async fn silence(port: u16, connections: usize) {
    let mut open = std::collections::VecDeque::new();
    let mut turns = tokio::time::interval(Duration::from_millis(5));
    loop {
        turns.tick().await;
        if open.len() >= connections {
            open.pop_front();
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
            let _ = stream.write_all(b"P").await;
            open.push_back(stream);
        }
    }
}

/// A connection with HTTP/2, without TLS.
async fn connected<B>(port: u16) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error: Into<tko_core::BoxError>> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = TokioIo::new(stream.expect("it listens"));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// A body of this many bytes that does not end.
fn unfinished(
    head: Bytes,
    bytes: usize,
) -> impl Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static {
    let part = Bytes::from(vec![b' '; PART]);
    let rest = futures_util::stream::repeat(part).take(bytes / PART);
    let parts = futures_util::stream::iter([head]).chain(rest);
    let frames = parts.chain(futures_util::stream::pending());
    Box::pin(StreamBody::new(frames.map(|part| Ok(Frame::data(part)))))
}

fn request<B>(target: Target, port: u16, path: &str, body: B) -> Request<B> {
    Request::builder()
        .method(target.method())
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("content-type", target.request().1)
        .header("te", "trailers")
        .body(body)
        .expect("a request")
}

/// A client of the compatible service.
fn existing(port: u16) -> DataClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
    let channel = endpoint.expect("an address").connect_lazy();
    DataClient::new(channel).max_encoding_message_size(64 << 20)
}

fn large(text: &Bytes) -> proto::Template {
    proto::Template {
        template_id: "large".to_owned(),
        package_format: "yaml".to_owned(),
        package: text.clone(),
        ..Default::default()
    }
}
