//! Why a certificate was revoked.

/// `CRLReason` (RFC 5280 §5.3.1). The discriminant is the code; 7 is not used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CrlReason {
    /// No reason given; encoded by leaving the reason out.
    #[default]
    Unspecified = 0,
    /// The subject's key is or may be in other hands.
    KeyCompromise = 1,
    /// The CA's key is or may be in other hands.
    CaCompromise = 2,
    /// The subject's name or other data changed.
    AffiliationChanged = 3,
    /// Another certificate took its place.
    Superseded = 4,
    /// It is no longer needed.
    CessationOfOperation = 5,
    /// Suspended; may become good again.
    CertificateHold = 6,
    /// A hold was released: belongs into delta CRLs only.
    RemoveFromCrl = 8,
    /// A privilege in it was withdrawn.
    PrivilegeWithdrawn = 9,
    /// The attribute authority's key is or may be in other hands.
    AaCompromise = 10,
}

impl CrlReason {
    /// All reasons by code.
    pub const ALL: [Self; 10] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::RemoveFromCrl,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}
