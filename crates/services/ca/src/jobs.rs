//! Background work: each job looks at the store, does what is due and says when to look again.

mod cascades;
mod expiry;
mod operations;
mod revocations;
mod upkeep;

pub(crate) use cascades::Cascades;
pub(crate) use expiry::CertificateExpiry;
pub(crate) use expiry::is_due_soon;
pub(crate) use operations::AbandonedOperations;
pub use operations::OthersRunning;
pub(crate) use revocations::Revocations;
pub(crate) use upkeep::CertificateUpkeep;
