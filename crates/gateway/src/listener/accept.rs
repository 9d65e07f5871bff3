//! The accept loop of one port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lamassu_http::Scheme;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::serve;
use crate::config::{Limits, Timeouts};
use crate::front::{Front, Origin};
use crate::metrics::OpenConnection;
use crate::tls::handshake::{self, Handshake};

/// How long to wait after the system refused to hand over a connection, usually because the
/// process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// When to stop, in two steps.
#[derive(Clone, Debug)]
pub(crate) struct StopSignals {
    /// Accept nothing more, finish what is in flight.
    pub(crate) drain: CancellationToken,
    /// Drop what is still there.
    pub(crate) cut: CancellationToken,
}

/// One port with everything that its connections need.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) front: Arc<Front>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) stop: StopSignals,
}

impl Listener {
    fn scheme(&self) -> Scheme {
        if self.tls.is_some() {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// Accepts until told to drain. Connections run in tasks of `tracker`.
    pub(crate) async fn run(self, tracker: TaskTracker) {
        let places = Arc::new(Semaphore::new(self.limits.max_connections));
        let scheme = self.scheme();
        let acceptor = self.tls.map(TlsAcceptor::from);
        let connections = Arc::new(serve::Connections::new(
            self.front,
            self.timeouts,
            &self.limits,
            self.stop,
            tracker.clone(),
        ));
        loop {
            let next = next_connection(&self.socket, &places);
            let (stream, place) = tokio::select! {
                () = connections.stop.drain.cancelled() => return,
                accepted = next => match accepted {
                    Some(accepted) => accepted,
                    None => continue,
                },
            };
            let connections = Arc::clone(&connections);
            let acceptor = acceptor.clone();
            tracker.spawn(async move {
                let _place = place;
                let _open = OpenConnection::new(scheme);
                one_connection(stream, acceptor, &connections).await;
            });
        }
    }
}

/// Waits for a place, then for a connection; `None` when the system refused, after a pause.
async fn next_connection(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, _peer)) => Some((stream, place)),
        Err(error) => {
            warn!(%error, "connection was not accepted");
            tokio::time::sleep_until(Instant::now() + ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn one_connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    connections: &serve::Connections,
) {
    // A client that is gone already has no address.
    let Ok(peer) = stream.peer_addr() else { return };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // Header and body leave at once; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "nodelay was not set");
    }
    let Some(acceptor) = acceptor else {
        let origin = Origin::plain(peer);
        connections.serve(stream, origin).await;
        return;
    };
    let limit = connections.timeouts.handshake;
    let shaken = tokio::select! {
        () = connections.stop.drain.cancelled() => return,
        shaken = handshake::accept(&acceptor, stream, peer, limit) => shaken,
    };
    if let Some(Handshake {
        stream,
        server_name,
        identity,
    }) = shaken
    {
        let origin = Origin::tls(peer, server_name, identity);
        connections.serve(*stream, origin).await;
    }
}
