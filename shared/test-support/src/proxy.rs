//! A TCP proxy that does to a connection what networks and dying servers do: refuse, stall, cut, delay and corrupt.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Bytes that are passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What happens to a connection.
#[derive(Debug, Clone, Copy)]
pub enum Mischief {
    /// Nothing; each piece waits this long, in each direction.
    Delay(Duration),
    /// Accepted and then never answered.
    Stall,
    /// Accepted and closed at once.
    Drop,
    /// Closed after the server has sent this many bytes.
    CutAfter(u64),
    /// The server's byte at this place is changed.
    CorruptAt(u64),
    /// Closed as soon as the client has sent this many bytes; the server has them, and its answer is lost.
    CutReplyAfter(u64),
    /// Closed when the server answers the client's turn of this number, counted from 1; the answer is lost.
    LoseReply(u64),
    /// Silent from the server's answer to the client's turn of this number on.
    HoldReply(u64),
}

/// What passed through.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: AtomicUsize,
    /// Bytes from the client.
    pub up: AtomicU64,
    /// Bytes from the server.
    pub down: AtomicU64,
    /// Times that the direction changed from down to up: round trips.
    pub turns: AtomicU64,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// What passed through.
    pub counts: Arc<Counts>,
    mischief: Arc<Mutex<Mischief>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// A proxy in front of a local port.
    pub async fn start(port: u16, mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let mischief = Arc::new(Mutex::new(mischief));
        let present = Arc::clone(&mischief);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                let mischief = *lock(&present);
                tokio::spawn(pass(client, port, mischief, Arc::clone(&counted)));
            }
        });
        Self { address, counts, mischief, task }
    }

    /// Does something else to every connection from now on. Those that are open keep what they have.
    pub fn turn_to(&self, mischief: Mischief) {
        *lock(&self.mischief) = mischief;
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn lock(mischief: &Mutex<Mischief>) -> std::sync::MutexGuard<'_, Mischief> {
    mischief.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn pass(mut client: TcpStream, port: u16, mischief: Mischief, counts: Arc<Counts>) {
    match mischief {
        Mischief::Drop => return,
        Mischief::Stall => {
            let mut sink = [0; 1024];
            while matches!(client.read(&mut sink).await, Ok(n) if n > 0) {}
            return;
        }
        Mischief::Delay(_)
        | Mischief::CutAfter(_)
        | Mischief::CorruptAt(_)
        | Mischief::CutReplyAfter(_)
        | Mischief::LoseReply(_)
        | Mischief::HoldReply(_) => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let last_was_down = std::sync::atomic::AtomicBool::new(true);
    let turn = AtomicU64::new(0);
    let up = async {
        let mut piece = vec![0; PIECE_BYTES];
        let mut sent = 0;
        while let Ok(n @ 1..) = from_client.read(&mut piece).await {
            if last_was_down.swap(false, Ordering::Relaxed) {
                counts.turns.fetch_add(1, Ordering::Relaxed);
                turn.fetch_add(1, Ordering::Relaxed);
            }
            counts.up.fetch_add(n as u64, Ordering::Relaxed);
            wait(mischief).await;
            if to_server.write_all(&piece[..n]).await.is_err() {
                break;
            }
            sent += n as u64;
            if matches!(mischief, Mischief::CutReplyAfter(limit) if sent >= limit) {
                // Long enough for the server to act on what it got, and its answer is thrown away.
                tokio::time::sleep(Duration::from_millis(300)).await;
                return;
            }
        }
        let _ = to_server.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut piece = vec![0; PIECE_BYTES];
        let mut sent = 0_u64;
        while let Ok(n @ 1..) = from_server.read(&mut piece).await {
            last_was_down.store(true, Ordering::Relaxed);
            counts.down.fetch_add(n as u64, Ordering::Relaxed);
            wait(mischief).await;
            let mut keep = n;
            match mischief {
                Mischief::LoseReply(lost) if turn.load(Ordering::Relaxed) >= lost => return,
                Mischief::HoldReply(held) if turn.load(Ordering::Relaxed) >= held => std::future::pending().await,
                Mischief::CutAfter(limit) => keep = n.min(usize::try_from(limit.saturating_sub(sent)).unwrap_or(n)),
                Mischief::CorruptAt(place) if (sent..sent + n as u64).contains(&place) => {
                    piece[usize::try_from(place - sent).expect("within the piece")] ^= 0x55;
                }
                Mischief::Delay(_)
                | Mischief::Stall
                | Mischief::Drop
                | Mischief::CorruptAt(_)
                | Mischief::CutReplyAfter(_)
                | Mischief::LoseReply(_)
                | Mischief::HoldReply(_) => {}
            }
            if to_client.write_all(&piece[..keep]).await.is_err() || keep < n {
                break;
            }
            sent += n as u64;
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn wait(mischief: Mischief) {
    if let Mischief::Delay(time) = mischief {
        tokio::time::sleep(time).await;
    }
}
