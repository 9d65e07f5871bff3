//! What a change of a CA or certificate asks for.

use std::sync::Arc;

use bytes::Bytes;
use lamassu_crypto::PrivateKey;
use serde_json::{Map, Value};

use super::{AlternativeName, KeySource, ProfileChoice};
use crate::ids::{CaId, EngineId, ProfileId, SerialNumber};
use crate::pem::CertificateDer;
use crate::subject::Subject;
use crate::va::CrlShards;

/// A CA that was made elsewhere.
#[derive(Clone, Debug)]
pub struct ImportCa {
    /// A UUID is made when empty.
    pub id: CaId,
    /// Its certificate.
    pub certificate: CertificateDer,
    /// Its private key, where the KMS shall hold it.
    pub private_key: Option<Arc<PrivateKey>>,
    /// Default profile of what the CA issues; may be empty.
    pub profile_id: ProfileId,
    /// Where the key goes; the default engine when empty or unknown.
    pub engine_id: EngineId,
    /// Which CA issued it, where several fit.
    pub parent: Option<CaId>,
    /// Into how many shards, with CRLs of their own, the certificates are divided that it issues from now on.
    pub crl_shards: Option<CrlShards>,
}

/// A certificate that was made elsewhere.
#[derive(Clone, Debug)]
pub struct ImportCertificate {
    /// The certificate.
    pub certificate: CertificateDer,
    /// Free object.
    pub metadata: Option<Map<String, Value>>,
}

/// A certificate to make for a key of the KMS.
#[derive(Clone, Debug)]
pub struct CreateCertificate {
    /// The issuing CA.
    pub ca: CaId,
    /// The key.
    pub key: KeySource,
    /// The subject; passed over where it is a successor's.
    pub subject: Subject,
    /// The certificate, of the same CA, whose subject it has, byte by byte.
    pub successor_of: Option<SerialNumber>,
    /// The alternative names that it asks for; whether it gets them is the profile's to say.
    pub alternative_names: Vec<AlternativeName>,
    /// The profile.
    pub profile: ProfileChoice,
    /// Free object.
    pub metadata: Map<String, Value>,
}

/// Whether deleting a CA deletes those below it that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// It does.
    Yes,
    /// They stay, revoked.
    No,
}

/// What a CA's key signs or shall have signed.
#[derive(Clone)]
pub struct RawMessage {
    /// Algorithm name of the wire, for example `ECDSA_SHA_256`.
    pub algorithm: String,
    /// The message or its digest.
    pub message: Bytes,
    /// Which of the two it is: `raw`, or `hash`/`digest`, in any case.
    pub message_type: String,
}

impl std::fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawMessage")
            .field("algorithm", &self.algorithm)
            .field("message_octets", &self.message.len())
            .field("message_type", &self.message_type)
            .finish()
    }
}
