//! A way to a PostgreSQL server that breaks at a commit.
//!
//! It understands as much of the protocol as it takes to see the simple query `COMMIT` pass; TLS
//! must be off.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The simple query that is waited for, as it is on the wire behind its length.
const COMMIT: &[u8] = b"COMMIT\0";

/// Where the way breaks, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// `COMMIT` does not reach the server.
    Before,
    /// `COMMIT` reaches the server, its answer does not come back.
    Answer,
    /// The same, and the server is out of reach until [`PostgresProxy::come_back`].
    AnswerAndBeyond,
}

/// What the connections have in common.
#[derive(Debug)]
struct Way {
    cut: Mutex<Option<Cut>>,
    /// Whether the server is out of reach.
    is_away: watch::Sender<bool>,
}

/// A listener in front of a server.
#[derive(Debug)]
pub struct PostgresProxy {
    port: u16,
    way: Arc<Way>,
    listening: JoinHandle<()>,
}

impl PostgresProxy {
    /// A way to the server on this port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let way = Arc::new(Way {
            cut: Mutex::new(None),
            is_away: watch::Sender::new(false),
        });
        let shared = Arc::clone(&way);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = Arc::clone(&shared);
                if !*way.is_away.borrow() {
                    tokio::spawn(async move {
                        // However it ends, both sides see it.
                        drop(carry(client, server, &way).await);
                    });
                }
            }
        });
        Ok(Self {
            port,
            way,
            listening,
        })
    }

    /// Where to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks the way at the next `COMMIT` of any connection.
    pub fn cut_at_commit(&self, cut: Cut) {
        *self.way.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut);
    }

    /// Whether the way broke where it should.
    pub fn was_cut(&self) -> bool {
        let cut = self.way.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.is_none()
    }

    /// Breaks all connections and takes no new ones until [`PostgresProxy::come_back`].
    pub fn go_away(&self) {
        self.way.is_away.send_replace(true);
    }

    /// Takes connections again.
    pub fn come_back(&self) {
        self.way.is_away.send_replace(false);
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.way.is_away.send_replace(true);
    }
}

async fn carry(client: TcpStream, server: u16, way: &Way) -> io::Result<()> {
    let mut away = way.is_away.subscribe();
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mute = watch::Sender::new(None);
    tokio::select! {
        ended = questions(from_client, to_server, way, &mute) => ended,
        ended = answers(from_server, to_client, mute.subscribe(), way) => ended,
        _away = away.wait_for(|away| *away) => Ok(()),
    }
}

/// Passes whole messages on to the server.
async fn questions(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    way: &Way,
    mute: &watch::Sender<Option<Cut>>,
) -> io::Result<()> {
    // The first message has no type.
    let first = body(&mut client).await?;
    server.write_all(&first).await?;
    loop {
        let kind = client.read_u8().await?;
        let message = body(&mut client).await?;
        if kind == b'Q' && message.ends_with(COMMIT) {
            let cut = way
                .cut
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            match cut {
                None => {}
                Some(Cut::Before) => return Ok(()),
                Some(withheld) => drop(mute.send_replace(Some(withheld))),
            }
        }
        let mut whole = vec![kind];
        whole.extend(message);
        server.write_all(&whole).await?;
    }
}

/// The length of a message, which counts itself, and what it counts.
async fn body(stream: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    let more = u64::from(length).saturating_sub(4);
    stream.take(more).read_to_end(&mut message).await?;
    Ok(message)
}

/// Passes answers on to the client, but for the one that is withheld.
async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mute: watch::Receiver<Option<Cut>>,
    way: &Way,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = server.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        if let Some(cut) = *mute.borrow() {
            if cut == Cut::AnswerAndBeyond {
                way.is_away.send_replace(true);
            }
            return Ok(());
        }
        client
            .write_all(buffer.get(..n).unwrap_or_default())
            .await?;
    }
}
