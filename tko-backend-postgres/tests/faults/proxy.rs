//! A proxy whose server is unreachable: it accepts connections and closes them at once.

use super::writers::{a_site, put, set, site};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::{Ack, Backend, Require, Want};
use tko_postgres_server::PostgresServer;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Forwards connections to the socket of a server, or closes them.
struct ClosingProxy {
    port: u16,
    accepted: Arc<AtomicU64>,
    is_closing: watch::Sender<bool>,
}

impl ClosingProxy {
    async fn start(server: &PostgresServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (accepted, is_closing) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(false));
        let (count, closing) = (accepted.clone(), is_closing.subscribe());
        let socket = server.folder().join(".s.PGSQL.5432");
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                count.fetch_add(1, Ordering::SeqCst);
                let (socket, closing) = (socket.clone(), closing.clone());
                tokio::spawn(async move {
                    // Dropping the client closes its connection.
                    if !*closing.borrow() {
                        forward(client, &socket, closing).await;
                    }
                });
            }
        });
        Self {
            port,
            accepted,
            is_closing,
        }
    }

    async fn open(&self, database: &str) -> Arc<Postgres> {
        let url = format!(
            "postgresql://tko@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        );
        let mut settings = PostgresSettings::new(url);
        settings.connections = 8;
        Arc::new(Postgres::connect(settings).await.expect("a store"))
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn forward(
    mut client: TcpStream,
    socket: &std::path::Path,
    mut closing: watch::Receiver<bool>,
) {
    let mut server = UnixStream::connect(socket).await.expect("it runs");
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// Two processes with many busy callers share a few attempts a second, and continue by themselves
/// when the server is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proxy_that_closes_every_connection_is_not_flooded() {
    let server = PostgresServer::start(tko_postgres_server::PostgresServerSettings::default());
    let server = server.expect("a server");
    let database = server.create_database().expect("a database");
    let proxy = ClosingProxy::start(&server).await;
    let stores = [proxy.open(&database).await, proxy.open(&database).await];
    let key = site("a");
    let new = set(Require::Absent(key.clone()), put(&key, a_site(), 0));
    stores[0].commit(new, Ack::Durable).await.expect("a site");

    proxy.is_closing.send_replace(true);
    let ended = Arc::new(AtomicBool::new(false));
    let callers = stores
        .iter()
        .flat_map(|store| (0..50).map(|_| store.clone()))
        .map(|store| {
            let (ended, key) = (ended.clone(), key.clone());
            tokio::spawn(async move {
                while !ended.load(Ordering::SeqCst) {
                    let _ = store.get(std::slice::from_ref(&key), Want::ROW).await;
                    tokio::task::yield_now().await;
                }
            })
        });
    let callers: Vec<_> = callers.collect();
    // Until the attempts that are free are used up, and the connections of before are gone.
    let mut before = proxy.accepted();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = proxy.accepted();
        if now - before < 20 {
            break;
        }
        before = now;
    }
    let before = proxy.accepted();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let attempts = proxy.accepted() - before;
    // Statements, and the connection for notifications, of two processes.
    assert!(attempts <= 40, "{attempts} connections in 4 s");

    proxy.is_closing.send_replace(false);
    for store in &stores {
        let found = loop {
            if let Ok(found) = store.get(std::slice::from_ref(&key), Want::ROW).await {
                break found;
            }
        };
        assert!(found[0].is_some());
    }
    ended.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.expect("no panic");
    }
}
