//! Background work: each job looks at the store, does what is due and says when to look again.

mod cascades;
mod counts;
mod expiry;
mod operations;
mod revocations;

pub(crate) use cascades::Cascades;
pub(crate) use counts::CertificateCounts;
pub(crate) use expiry::CertificateExpiry;
pub(crate) use expiry::is_due_soon;
pub(crate) use operations::AbandonedOperations;
pub use operations::OthersRunning;
pub(crate) use revocations::Revocations;
