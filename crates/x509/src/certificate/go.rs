//! What Go's `crypto/x509` refuses to read.
//!
//! Software written in Go refuses such a certificate, and with it any JSON list that holds
//! it. Our own reader takes it, so importing asks here first.

use lamassu_crypto::KeyError;

use super::TbsCertificate;

/// The form that Go's `crypto/x509` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableByGo {
    /// The serial number is negative.
    #[error("negative serial number")]
    NegativeSerial,
    /// The serial number has more octets than it needs.
    #[error("serial number that is not minimally encoded")]
    NonMinimalSerial,
    /// An extension stands twice in the list.
    #[error("repeated extension")]
    RepeatedExtension,
    /// The key lies on a curve that has no name, or one that is not known.
    #[error("unknown elliptic curve")]
    UnknownCurve,
}

impl TbsCertificate {
    /// The first form found that Go refuses; `None` when there is none.
    pub fn unreadable_by_go(&self) -> Option<UnreadableByGo> {
        if self.serial().is_negative() {
            Some(UnreadableByGo::NegativeSerial)
        } else if self.serial().is_non_minimal() {
            Some(UnreadableByGo::NonMinimalSerial)
        } else if self.extensions().repeated().is_some() {
            Some(UnreadableByGo::RepeatedExtension)
        } else if matches!(self.public_key(), Err(KeyError::UnknownCurve)) {
            Some(UnreadableByGo::UnknownCurve)
        } else {
            None
        }
    }
}
