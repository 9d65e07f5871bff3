//! Why something is revoked, on the command line.

use std::str::FromStr;

use lamassu_core::usage::RevocationReason;

/// Every reason that somebody may give.
const REASONS: [RevocationReason; 8] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::PrivilegeWithdrawn,
    RevocationReason::AaCompromise,
];

/// A reason for good, by its name in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReasonArg(pub(crate) RevocationReason);

impl ReasonArg {
    /// The end of a question before a revocation.
    pub(crate) fn for_good(self) -> String {
        let Self(reason) = self;
        format!(
            "for good: neither that nor the reason {} can be changed afterwards",
            reason.name()
        )
    }
}

impl FromStr for ReasonArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match RevocationReason::from_name(text) {
            Some(RevocationReason::CertificateHold) => {
                Err("that is not for good: use `hold` instead of `revoke`".to_owned())
            }
            Some(reason) if REASONS.contains(&reason) => Ok(Self(reason)),
            _ => {
                let names = REASONS.map(RevocationReason::name);
                Err(format!("there are {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::usage::RevocationReason;

    use super::ReasonArg;

    #[test]
    fn reasons_are_read_in_any_case_and_a_hold_is_none() {
        let read = |text: &str| text.parse::<ReasonArg>();
        let compromise = ReasonArg(RevocationReason::KeyCompromise);
        assert_eq!(read("keycompromise"), Ok(compromise));
        for wrong in ["CertificateHold", "RemoveFromCRL", "because"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
