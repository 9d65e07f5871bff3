//! What this machine can do at all, measured in the same run.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey, SignatureScheme};
use rusqlite::Connection as Sqlite;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tempfile::TempDir;

use crate::client::{self, Connection, Target, encode, provider};
use crate::load::{self, Asked, Asking, Worker};
use crate::server::Installation;

/// How long each limit is measured.
const WHILE: Duration = Duration::from_secs(1);

/// Bytes that a commit of one certificate writes at least.
const COMMIT_BYTES: usize = 4096;

/// An end entity, its key (PKCS#8), and its issuer: what a device presents.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) certificate: Vec<u8>,
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
}

/// Prints what does not need a program under measurement.
pub(crate) async fn print(directory: &Path) -> Result<()> {
    let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
    let scheme = SignatureScheme::Ecdsa(HashAlgorithm::Sha256);
    let signature = key.sign(scheme, Message::Raw(b"message"))?;
    let sign = per_second(|| key.sign(scheme, Message::Raw(b"message")).is_ok());
    let verify = per_second(|| {
        key.public_key()
            .verify(scheme, Message::Raw(b"message"), &signature)
            .is_ok()
    });
    println!("limit: {sign:.0} P-256 signatures/s, {verify:.0} verifications/s, on one core");
    let mut file = File::create(directory.join("synced"))?;
    let block = vec![1_u8; COMMIT_BYTES];
    let synced = per_second(|| file.write_all(&block).is_ok() && file.sync_data().is_ok());
    println!("limit: {synced:.0} writes of 4 KiB/s, each synced (fdatasync)");
    let (one, batched) = (commits(directory, 1)?, commits(directory, 32)?);
    println!(
        "limit: {one:.0} durable SQLite commits of one 1 KiB row/s; {batched:.0} rows/s by 32 in a commit"
    );
    println!(
        "limit: {:.0} plain HTTP requests/s from a trivial axum server at 32 clients",
        plain_http().await?
    );
    Ok(())
}

/// Rows per second that a database set up as the program's stores durably.
fn commits(directory: &Path, rows: usize) -> Result<f64> {
    let directory = TempDir::new_in(directory)?;
    let database = Sqlite::open(directory.path().join("limit.db"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    )?;
    let body = [1_u8; 1024];
    let mut insert = database.prepare("INSERT INTO entry (body) VALUES (?1)")?;
    let commits = per_second(|| {
        database.execute_batch("BEGIN").is_ok()
            && (0..rows).all(|_| insert.execute([&body[..]]).is_ok())
            && database.execute_batch("COMMIT").is_ok()
    });
    Ok(commits * f64::from(u32::try_from(rows)?))
}

/// Mutual TLS handshakes per second, both ends in this process on both cores.
pub(crate) fn print_handshakes(installation: &Installation, device: &Party) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(device.issuer.clone()))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let (chain, key) = installation.server_identity()?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let identity = (device.certificate.clone(), device.pkcs8.clone());
    let client = client::tls(&installation.anchor()?, Some(identity))?;
    let server = Arc::new(server);
    let both: f64 = std::thread::scope(|scope| {
        let run = || per_second(|| handshake(&server, &client).is_ok());
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum()
    });
    handshake(&server, &client)?;
    println!("limit: {both:.0} mutual TLS 1.3 handshakes/s, both ends on the two cores");
    Ok(())
}

fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<()> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost")?)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire)?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
    }
    Ok(())
}

async fn plain_http() -> Result<f64> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let service = Router::new().route("/", get(async || "ok"));
    let server = tokio::spawn(axum::serve(listener, service).into_future());
    let outcome = load::run(32, WHILE, || {
        Trivial(Connection::to(Target { port, tls: None }))
    })
    .await?;
    server.abort();
    Ok(outcome.per_second())
}

struct Trivial(Connection);

impl Worker for Trivial {
    fn ask(&mut self) -> Asking<'_> {
        Box::pin(async move {
            let request = Request::get("/").header("host", "localhost");
            let wire = encode(&request.body(Bytes::new())?);
            let answer = self.0.send(&wire).await.context("trivial server")?;
            answer.expect(StatusCode::OK)?;
            Ok(Asked::Answered)
        })
    }
}

fn per_second(mut once: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    let mut done = 0_u32;
    while begun.elapsed() < WHILE {
        if once() {
            done += 1;
        }
    }
    f64::from(done) / begun.elapsed().as_secs_f64()
}
