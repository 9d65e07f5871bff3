//! A server whose answers are scripted, and what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lamassu_client::{AuthMode, ClientConfig, Credentials, NoAuth, Peer, Protocol};
use lamassu_core::caller::{Caller, Principal, TraceContext};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends this, byte for byte.
    Send(String),
    /// The same, but so much later.
    Late(Duration, String),
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request and says nothing.
    Silence,
}

/// An answer of this status with these header lines and this body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Act {
    Act::Send(answer_text(status, headers, body))
}

/// The bytes of such an answer.
pub(crate) fn answer_text(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that does one act per request, the last one for all that follow.
    pub(crate) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new((script, Arc::clone(&asked)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Self { port, asked }
    }

    /// Heads and bodies of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn n_asked(&self) -> usize {
        self.asked().len()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig {
            auth_mode: AuthMode::Noauth,
            protocol: Protocol::Http,
            hostname: "127.0.0.1".to_owned(),
            port: self.port,
            ..ClientConfig::default()
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer_with(|_| {}, Arc::new(NoAuth))
    }

    pub(crate) fn peer_with(
        &self,
        change: impl FnOnce(&mut ClientConfig),
        credentials: Arc<dyn Credentials>,
    ) -> Peer {
        let mut config = self.config();
        change(&mut config);
        Peer::new(&config, "service/ra", credentials).unwrap()
    }
}

type State = Arc<(Vec<Act>, Arc<Mutex<Vec<String>>>)>;

async fn serve(mut stream: TcpStream, state: State) {
    let (script, asked) = &*state;
    while let Some(request) = read_request(&mut stream).await {
        let n = {
            let mut asked = asked.lock().unwrap();
            asked.push(request);
            asked.len()
        };
        match &script[(n - 1).min(script.len() - 1)] {
            Act::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Close => return,
            Act::Late(after, text) => {
                silence(*after).await;
                // Who did not wait so long is gone.
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::Silence => silence(Duration::from_secs(60)).await,
        }
    }
}

async fn silence(time: Duration) {
    tokio::time::timeout(time, std::future::pending::<()>())
        .await
        .unwrap_err();
}

/// Head and body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        let n = stream.read(&mut buffer).await.ok()?;
        if n == 0 {
            return None;
        }
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
}

pub(crate) fn caller() -> Caller {
    Caller {
        principal: Principal::Token {
            subject: "jane".to_owned(),
            provider: "local".into(),
        },
        also: None,
        source: None,
        request_id: "request-7".into(),
        trace: TraceContext {
            trace_id: 0xabc,
            span_id: 0xdef,
        },
    }
}
