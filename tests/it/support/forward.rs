//! A port that is known before the server has one: addresses in certificates are written when they are
//! issued.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use anyhow::Result;

/// Passes connections on to a port of this machine, once it is said.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Its own port.
    pub(crate) port: u16,
    target: Arc<AtomicU16>,
}

impl Forward {
    /// Listens; connections that come before [`to`](Self::to) are closed.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) fn listen() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(AtomicU16::new(0));
        let seen = Arc::clone(&target);
        // It ends with the process: nobody connects to it later.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = seen.load(Ordering::SeqCst);
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    pass(&client, &server);
                    pass(&server, &client);
                }
            }
        });
        Ok(Self { port, target })
    }

    /// Says where connections go.
    pub(crate) fn to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }
}

/// Copies one direction until it ends.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        drop(copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
}
