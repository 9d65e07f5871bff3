//! Why a certificate is not made, in the client's terms.

use lamassu_core::ca::CaError;
use lamassu_core::crypto_engine::EngineError;
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_core::kms::KmsError;
use lamassu_x509::issue::IssueError;

/// What the rules of issuing refuse.
pub(crate) fn not_issued(error: IssueError) -> CaError {
    match error {
        IssueError::RequestedExtension(malformed) => CaError::MalformedCsr(malformed.to_string()),
        IssueError::KeyPolicy(_)
        | IssueError::Subject(_)
        | IssueError::SubjectAltName(_)
        | IssueError::ValidityOutOfRange
        | IssueError::Lint(_) => CaError::Policy(error.to_string()),
        IssueError::Algorithm(_) | IssueError::Encoding(_) => CaError::SignFailed(
            "the certificate cannot be encoded".into(),
            Some(Box::new(error)),
        ),
    }
}

/// Why a key did not sign. As with [`no_signer`], a client may come back when the holder of the
/// key is overloaded or down, and is told of a key that was disabled.
pub(crate) fn not_signed(error: EngineError) -> CaError {
    match error {
        EngineError::KeyDisabled => CaError::KmsRefused(KmsError::KeyDisabled),
        _ if error.kind() == ErrorKind::Unavailable => {
            CaError::KmsRefused(KmsError::EngineUnavailable(Box::new(error)))
        }
        _ => CaError::SignFailed("the key did not sign".into(), Some(Box::new(error))),
    }
}

/// Why a CA's own key gave no signer. A client may enable a key that was disabled, and come back when
/// the key management service is overloaded or down; it cannot mend anything else.
pub(crate) fn no_signer(error: KmsError) -> CaError {
    let why = match &error {
        KmsError::KeyDisabled => return CaError::KmsRefused(error),
        _ if error.kind() == ErrorKind::Unavailable => return CaError::KmsRefused(error),
        KmsError::KeyNotFound => "the key of the CA is not here",
        _ => "the key cannot be used",
    };
    CaError::SignFailed(why.into(), Some(Box::new(error)))
}
