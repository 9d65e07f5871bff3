//! Whether the gateways of an installation are believed by the same clients.
//!
//! Without a configured certificate each gateway makes a CA of its own in its `tls` directory. Several
//! of them behind one name need the same: a client has one trust anchor. Each tells the database whose
//! certificate it shows, and the log whether the one before it showed another's.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use lamassu_crypto::HashAlgorithm;
use lamassu_db::{Db, report_setting};
use lamassu_x509::{Certificate, pem};
use tracing::{debug, warn};

/// The key of the CA of the gateway that started last, by its digest: its certificate is renewed.
const SETTING: &str = "gateway_tls_ca";

/// Compares the trust anchor in this file with that of the gateway before; another one is told.
pub(crate) async fn compare(db: &Db, anchor: &Path) {
    match differs(db, anchor).await {
        Ok(false) => {}
        Ok(true) => warn!(
            trust = %anchor.display(),
            "the TLS CA of this gateway is not that of the gateway that started before it on this \
             database: clients trust one of them only; give all gateways the same tls directory or \
             gateway.tls.cert_file"
        ),
        Err(error) => debug!(error = format!("{error:#}"), "TLS CA not compared"),
    }
}

async fn differs(db: &Db, anchor: &Path) -> Result<bool> {
    let text = std::fs::read(anchor).with_context(|| anchor.display().to_string())?;
    let certificate = Certificate::from_der(pem::pem_to_der(&text)?)?;
    let digest = HashAlgorithm::Sha256.digest(certificate.spki_der());
    let own = Bytes::from(digest);
    let before = report_setting(db, SETTING, own.clone()).await?;
    Ok(before.is_some_and(|before| before != own))
}
