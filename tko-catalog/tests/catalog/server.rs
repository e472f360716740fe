//! A small web server of a test: HTTP/1.1 on loopback, also with TLS.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The value of a parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    }
}

/// An answer.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Bytes of the body.
    pub(crate) fn size(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }
}

/// What a server answers; it also gets how many requests came before.
type Handler = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// A server that runs until it is dropped.
pub(crate) struct TestServer {
    address: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
    calls: Arc<AtomicUsize>,
    scheme: &'static str,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Starts a server. `answer` gets each request, and how many came before it.
    pub(crate) fn start(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(answer), None)
    }

    /// The same with TLS. Returns also the certificate, in PEM.
    pub(crate) fn start_tls(
        answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> (Self, String) {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let pem = made.cert.pem();
        let key = made.signing_key.serialize_der();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        (Self::serve(Arc::new(answer), Some(acceptor)), pem)
    }

    fn serve(answer: Arc<Handler>, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (counted, answer, tls) = (counted.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, &counted, &*answer).await,
                        Some(tls) => {
                            // A client that does not trust the certificate ends the handshake.
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, &counted, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            task,
            calls,
            scheme,
        }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many requests came.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Answers the requests of a connection until the client closes it.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    counted: &AtomicUsize,
    answer: &Handler,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match stream.read_line(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let Some(mut request) = parse(&head) else {
            return;
        };
        let length = request.header("content-length");
        let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        if stream.read_exact(&mut request.body).await.is_err() {
            return;
        }
        let number = counted.fetch_add(1, Ordering::SeqCst);
        let answer = answer(&request, number);
        let mut text = format!("HTTP/1.1 {} Status\r\n", answer.status);
        for (name, value) in &answer.headers {
            write!(text, "{name}: {value}\r\n").expect("into memory");
        }
        if answer.status != 304 {
            write!(text, "content-length: {}\r\n", answer.body.len()).expect("into memory");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if request.method != "HEAD" {
            bytes.extend(&answer.body);
        }
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
    })
}
