//! A running gateway over a small router, and the programs that talk to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_gateway::{
    BuildInfo, Gateway, GatewayConfig, GatewayError, GatewayParts, MetricsExporter, Readiness,
};
use lamassu_http::{ConnectionInfo, PeerAddress, TlsExporter};
use lamassu_x509::Certificate;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a slow machine, short enough to notice a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that runs in this process until it is dropped.
pub(crate) struct Running {
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) dir: TempDir,
    /// Lets `/slow` answer.
    pub(crate) release: Arc<Notify>,
    /// Told when `/slow` has been reached.
    pub(crate) reached: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

/// A configuration on free ports of the loopback interface.
pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig {
        listen_address: Some(Ipv4Addr::LOCALHOST.into()),
        http_port: Some(0),
        https_port: Some(0),
        ..GatewayConfig::default()
    };
    config.metrics.listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config
}

pub(crate) fn parts(dir: &Path, metrics: Option<MetricsExporter>) -> GatewayParts {
    GatewayParts {
        data_dir: dir.to_owned(),
        clock: system_clock(),
        readiness: Readiness::builder()
            .check("storage", || async { Ok(()) })
            .build(),
        build: BuildInfo {
            version: "3.8.0".to_owned(),
            build: "abc".to_owned(),
            build_time: String::new(),
        },
        services: vec!["ca", "va"],
        metrics,
    }
}

pub(crate) fn system_clock() -> SharedClock {
    Arc::new(SystemClock)
}

pub(crate) async fn start() -> Running {
    start_with(config(), None).await.unwrap()
}

pub(crate) async fn start_with(
    config: GatewayConfig,
    metrics: Option<MetricsExporter>,
) -> Result<Running, GatewayError> {
    let dir = tempfile::tempdir().unwrap();
    let bound = Gateway::bind(config, parts(dir.path(), metrics)).await?;
    let (https, http) = (bound.https_addr().unwrap(), bound.http_addr().unwrap());
    let metrics = bound.metrics_addr();
    let (release, reached) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = router(Arc::clone(&release), Arc::clone(&reached));
    let stop = CancellationToken::new();
    let served = tokio::spawn(bound.serve(router, stop.clone()));
    Ok(Running {
        https,
        http,
        metrics,
        dir,
        release,
        reached,
        stop,
        served,
    })
}

/// `/slow` answers when told to, `/large` with a mebibyte, `/refused` at once; anything else tells what the
/// request looked like.
fn router(release: Arc<Notify>, reached: Arc<Notify>) -> Router {
    let slow = any(async move || {
        reached.notify_one();
        release.notified().await;
        "slow"
    });
    let large = any(async || vec![b'x'; 1024 * 1024]);
    Router::new()
        .route("/slow", slow)
        .route("/large", large)
        .route("/refused", any(async || axum::http::StatusCode::FORBIDDEN))
        .fallback(any(describe))
}

async fn describe(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let info = parts.extensions.get::<ConnectionInfo>().unwrap();
    let chain = parts.extensions.get::<ClientCertificateChain>();
    let name = chain
        .and_then(ClientCertificateChain::end_entity)
        .map(common_name);
    let exporter = parts.extensions.get::<TlsExporter>();
    let exporter = exporter.map_or(String::new(), |exporter| hex(&exporter.0));
    let headers: Vec<_> = parts
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    let body = read_body(body).await;
    format!(
        "peer={} target={} scheme={:?} sni={:?} client={name:?} length={} exporter={exporter} headers={} \
         body={body}",
        parts.extensions.get::<PeerAddress>().unwrap().0.ip(),
        parts.uri.path_and_query().unwrap(),
        info.scheme,
        info.server_name,
        chain.map_or(0, |chain| chain.0.len()),
        headers.join(","),
    )
}

async fn read_body(body: Body) -> String {
    let bytes = axum::body::to_bytes(body, 1024).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn common_name(der: &bytes::Bytes) -> String {
    Certificate::from_der(der.clone())
        .unwrap()
        .subject()
        .common_name()
        .unwrap_or_default()
}

impl Running {
    pub(crate) fn trust_anchor(&self) -> PathBuf {
        self.dir.path().join("tls/ca.pem")
    }

    /// `https://localhost:port` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }

    /// What curl prints, with the trust anchor and `options`.
    pub(crate) async fn curl(&self, path: &str, options: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--resolve"]);
        command.arg(format!("localhost:{}:127.0.0.1", self.https.port()));
        command
            .arg("--cacert")
            .arg(self.trust_anchor())
            .args(options)
            .arg(self.url(path));
        run(command).await
    }
}

/// Runs a program to its end without holding up the runtime.
pub(crate) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Standard output and error of a program, as one text.
pub(crate) fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs `openssl` and expects success.
pub(crate) fn openssl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        text(&output)
    );
    text(&output)
}

/// A self-signed client certificate made by openssl, as `NAME.pem` and `NAME.key` in `dir`;
/// `algorithm` holds the options of `openssl req` that choose the key.
pub(crate) fn client_certificate(dir: &Path, name: &str, algorithm: &[&str]) {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN={name}");
    let mut arguments = vec!["req", "-x509", "-nodes", "-days", "2", "-subj", &subject];
    arguments.extend(["-keyout", &key, "-out", &pem]);
    arguments.extend(algorithm);
    openssl(dir, &arguments);
}

/// Sends `request` over plain TCP and reads to the end.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the other side closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut reply = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut reply)).await;
    // A reset after the answer is an end, too.
    drop(read.expect("the server closes"));
    String::from_utf8_lossy(&reply).into_owned()
}
