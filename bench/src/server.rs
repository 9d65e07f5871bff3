//! The program under measurement, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    program: PathBuf,
    directory: TempDir,
    /// From the start of the process to its line that it is ready.
    pub(crate) started_in: Duration,
    pub(crate) https_port: u16,
    pub(crate) http_port: u16,
}

impl Server {
    /// Starts the program on an empty data directory and free ports.
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        let directory = TempDir::new()?;
        let output = directory.path().join("stdout");
        let config = directory.path().join("config.yml");
        std::fs::write(
            &config,
            "gateway: {metrics: {listen: null}}\nlogs: {level: warn}\n",
        )?;
        let begun = Instant::now();
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--http-port", "0", "--https-port", "0"])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&output)?)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        loop {
            tick.tick().await;
            let text = std::fs::read_to_string(&output)?;
            if let (Some(https_port), Some(http_port)) = (
                port(&text, "https://localhost:"),
                port(&text, "http://localhost:"),
            ) {
                let started_in = begun.elapsed();
                let program = program.to_path_buf();
                return Ok(Self {
                    child,
                    program,
                    directory,
                    started_in,
                    https_port,
                    http_port,
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the program ended with {status}");
            }
        }
    }

    /// The trust anchor of the server's certificate, PEM.
    pub(crate) fn anchor(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(
            self.directory.path().join("data/tls/ca.pem"),
        )?)
    }

    /// An administrator's bearer token.
    pub(crate) fn token(&self) -> Result<String> {
        let output = Command::new(&self.program)
            .args(["token", "--ttl", "12h", "--data-dir"])
            .arg(self.directory.path().join("data"))
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Memory of the process that is in RAM, in megabytes.
    pub(crate) fn resident_mb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The port behind the first `prefix` of a text.
fn port(text: &str, prefix: &str) -> Option<u16> {
    let (_, rest) = text.split_once(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
