//! The CA service of another process.

mod body;
mod calls;
mod path;

use http::Method;
use lamassu_core::ca::CaError;
use lamassu_core::caller::Caller;
use lamassu_core::pem::CertificateDer;
use lamassu_x509::pkcs7;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::peer::{Call, Peer, Service, internal};
use crate::retry::Repeat;

/// The CA service of another process.
///
/// Repeated after a doubt: reads, and what closes intents, which a second time changes nothing. Never
/// repeated: what creates, imports, issues, deletes, replaces, patches or attaches (it would tell of a
/// change twice, or undo somebody else's), and changes of a status, whose repeat is refused as one that
/// may not follow itself.
#[derive(Clone, Debug)]
pub struct CaClient(Service);

impl CaClient {
    /// The service at this peer.
    pub fn new(peer: &Peer) -> Self {
        Self(peer.service("ca"))
    }

    async fn get<T: DeserializeOwned>(&self, caller: &Caller, path: String) -> Result<T, CaError> {
        self.0.read(caller, Call::get(path)).await
    }

    /// Certificates in a PKCS#7, in order.
    async fn chain(&self, caller: &Caller, path: String) -> Result<Vec<CertificateDer>, CaError> {
        let answer = self.0.answer::<CaError>(caller, Call::get(path)).await?;
        let found = pkcs7::certificates(answer.body).map_err(internal)?;
        let ders = found.iter().map(|found| found.as_der().clone());
        Ok(ders.map(CertificateDer::from_der).collect())
    }

    async fn send<T: DeserializeOwned, B: Serialize + Sync>(
        &self,
        caller: &Caller,
        (method, path): (Method, String),
        body: &B,
        repeat: Repeat,
    ) -> Result<T, CaError> {
        let call = Call::json(method, path, body, repeat)?;
        self.0.read(caller, call).await
    }
}
