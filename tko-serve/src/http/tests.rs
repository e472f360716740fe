use super::{HttpSettings, serve_http};
use crate::{Anyone, Credentials, HeavyWork, Listen, Peer, Sockets, authenticate};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;
use tko_core::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// Far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

type Reply = std::result::Result<Response<String>, Infallible>;

/// Computes for each request until the test sends to `end` or drops it, and then answers it.
#[derive(Clone)]
struct HeavyService {
    heavy_work: HeavyWork,
    begun: Arc<Notify>,
    end: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Service<Request<Incoming>> for HeavyService {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Reply>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let Self {
            heavy_work,
            begun,
            end,
        } = self.clone();
        let answer = async move {
            let work = || {
                begun.notify_one();
                let end = end.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = end.recv_timeout(TIME);
            };
            heavy_work.run(usize::MAX, work).await;
            Ok(Response::new(String::new()))
        };
        answer.boxed()
    }
}

/// A server that computes for one request of a client.
struct BusyServer {
    address: SocketAddr,
    client: TcpStream,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<()>>,
    /// Ends the computation.
    end: mpsc::Sender<()>,
}

impl BusyServer {
    async fn start(grace: Duration) -> Self {
        let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
        let address = sockets.addresses()[0];
        let (end, ended) = mpsc::channel();
        let service = HeavyService {
            heavy_work: HeavyWork::default(),
            begun: Arc::default(),
            end: Arc::new(Mutex::new(ended)),
        };
        let begun = service.begun.clone();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let serving = tokio::spawn(async move {
            let settings = HttpSettings {
                grace,
                ..HttpSettings::default()
            };
            serve_http(sockets, &settings, service, stop).await
        });
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(REQUEST).await.expect("sent");
        begun.notified().await;
        Self {
            address,
            client,
            shutdown,
            serving,
            end,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_cannot_be_aborted_does_not_delay_the_end() {
    let server = BusyServer::start(Duration::ZERO).await;
    server.shutdown.cancel();
    let served = tokio::time::timeout(TIME, server.serving).await;
    let served = served.expect("it ends although the work does not");
    served.expect("no panic").expect("it served");
    server.end.send(()).expect("it still computes");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_are_refused_while_requests_are_finished() {
    let mut server = BusyServer::start(TIME).await;
    server.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let refused = tokio::time::timeout(TIME / 2, refused).await;
    refused.expect("the listeners are closed");
    server.end.send(()).expect("it still computes");
    let mut answer = Vec::new();
    let read = server.client.read_to_end(&mut answer).await;
    read.expect("the answer to the request");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    let served = server.serving.await.expect("no panic");
    served.expect("it served");
}

/// Authenticates each request, and answers it.
#[derive(Clone)]
struct KnownService;

impl Service<Request<Incoming>> for KnownService {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Reply>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        let answer = async move {
            let credentials = Credentials::new("test").with_peer(peer.expect("a peer"));
            let caller = authenticate(&Anyone, &credentials).await;
            caller.expect("anyone is admitted");
            Ok(Response::new(String::new()))
        };
        answer.boxed()
    }
}

/// Makes a request and reads the answer, which has no body.
async fn ask(client: &mut TcpStream) {
    client.write_all(REQUEST).await.expect("it is open");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let count = client.read_buf(&mut answer).await.expect("an answer");
        assert_ne!(count, 0, "the server closed the connection");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn an_authenticated_connection_may_be_idle_as_long_as_proxies_keep_it() {
    let sockets = Sockets::bind(&Listen::default()).await.expect("loopback");
    let address = sockets.addresses()[0];
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move {
        serve_http(sockets, &HttpSettings::default(), KnownService, stop).await
    });
    let mut client = TcpStream::connect(address).await.expect("connected");
    ask(&mut client).await;
    // The time of the clock of tests, which passes at once.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(10)).await;
    tokio::time::resume();
    ask(&mut client).await;
    shutdown.cancel();
    serving.await.expect("no panic").expect("it served");
}
