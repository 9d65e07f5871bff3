//! Certificate revocation lists (RFC 5280 §5).
//!
//! [`CrlBuilder`] takes entries one by one, as they come out of a store, and holds nothing but
//! their encodings; [`CertificateList`] reads. Next: `crl/build.rs`, `crl/scope.rs` for lists that are
//! not complete, `crl/read.rs`.

mod build;
mod judge;
mod read;
mod reason;
mod scope;

pub use build::{CrlBuilder, CrlError, CrlFields};
pub use judge::{CrlRefusal, CrlScope};
pub use read::CertificateList;
pub use reason::CrlReason;
pub use scope::{
    delta_crl_indicator, expired_certs_on_crl, freshest_crl, issuing_distribution_point,
};

use time::OffsetDateTime;

use crate::serial::Serial;

/// The number of a CRL (RFC 5280 §5.2.3): grows with every list of its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlNumber(pub u64);

/// One revoked certificate on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedEntry {
    /// Its serial number.
    pub serial: Serial,
    /// Since when it is revoked; fractions of a second are cut.
    pub revocation_date: OffsetDateTime,
    /// Why.
    pub reason: CrlReason,
}
