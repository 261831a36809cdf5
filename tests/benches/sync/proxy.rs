//! A network between a client and a mail server: it takes its time, keeps the order, and counts.
//!
//! Unlike the proxy of the tests it does not slow the flow of bytes: pieces that follow one another travel together.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

/// Bytes that are taken at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that are on their way at once; far more than a delay of some milliseconds lets pile up.
const PIECES_MAX: usize = 4_096;

/// What passed since the last look.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    turns: AtomicU64,
}

impl Counts {
    /// The counts, which begin at zero again.
    pub(crate) fn take(&self) -> Value {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        json!({
            "connections": take(&self.connections),
            "up": take(&self.up),
            "down": take(&self.down),
            "turns": take(&self.turns),
        })
    }
}

/// TLS towards both sides, so that what is counted is the protocol inside.
#[derive(Clone)]
pub(crate) struct Reveal {
    pub server: tokio_rustls::TlsAcceptor,
    pub client: tokio_rustls::TlsConnector,
}

/// Passes connections on to `target`, each byte `one_way` later.
pub(crate) async fn serve(
    listener: TcpListener,
    target: u16,
    one_way: Duration,
    reveal: Option<Reveal>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let (counts, reveal) = (Arc::clone(&counts), reveal.clone());
        tokio::spawn(async move {
            counts.connections.fetch_add(1, Ordering::Relaxed);
            // The handshake of TCP, which on this machine took no time.
            sleep(one_way * 2).await;
            // A connection that breaks is for its client to notice.
            let _ = pass(client, target, one_way, reveal, &counts).await;
        });
    }
}

async fn pass(
    client: TcpStream,
    target: u16,
    one_way: Duration,
    reveal: Option<Reveal>,
    counts: &Arc<Counts>,
) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    match reveal {
        None => both(client, server, one_way, counts).await,
        Some(Reveal { server: acceptor, client: connector }) => {
            let client = acceptor.accept(client).await?;
            let name = rustls_pki_types::ServerName::try_from("localhost").map_err(io::Error::other)?;
            both(client, connector.connect(name, server).await?, one_way, counts).await
        }
    }
}

async fn both<C, S>(client: C, server: S, one_way: Duration, counts: &Arc<Counts>) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Send + 'static,
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    // A turn is a byte of the client after one of the server, or the first of all.
    let servers_turn = Arc::new(AtomicBool::new(false));
    let (of_up, of_down) = (Arc::clone(counts), Arc::clone(counts));
    let (up_turn, down_turn) = (Arc::clone(&servers_turn), servers_turn);
    let up = flow(from_client, to_server, one_way, move |bytes| {
        of_up.up.fetch_add(bytes, Ordering::Relaxed);
        if !up_turn.swap(true, Ordering::Relaxed) {
            of_up.turns.fetch_add(1, Ordering::Relaxed);
        }
    });
    let down = flow(from_server, to_client, one_way, move |bytes| {
        of_down.down.fetch_add(bytes, Ordering::Relaxed);
        down_turn.store(false, Ordering::Relaxed);
    });
    let (up, down) = tokio::join!(up, down);
    up.and(down)
}

async fn flow<R, W>(from: R, to: W, one_way: Duration, seen: impl Fn(u64)) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if one_way.is_zero() {
        return flow_at_once(from, to, seen).await;
    }
    let (arrived, departing) = mpsc::channel(PIECES_MAX);
    let (taken, given) = tokio::join!(take(from, arrived, one_way, seen), give(to, departing));
    taken.and(given)
}

async fn flow_at_once<R, W>(mut from: R, mut to: W, seen: impl Fn(u64)) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    loop {
        piece.clear();
        let count = from.read_buf(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return to.shutdown().await;
        }
        seen(count as u64);
        to.write_all(&piece).await?;
        to.flush().await?;
    }
}

async fn take<R: AsyncRead + Unpin>(
    mut from: R,
    arrived: mpsc::Sender<(Instant, BytesMut)>,
    one_way: Duration,
    seen: impl Fn(u64),
) -> io::Result<()> {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let count = from.read_buf(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        seen(count as u64);
        if arrived.send((Instant::now() + one_way, piece)).await.is_err() {
            return Ok(());
        }
    }
}

async fn give<W: AsyncWrite + Unpin>(mut to: W, mut departing: mpsc::Receiver<(Instant, BytesMut)>) -> io::Result<()> {
    while let Some((due, piece)) = departing.recv().await {
        sleep_until(due).await;
        to.write_all(&piece).await?;
        to.flush().await?;
    }
    to.shutdown().await
}
