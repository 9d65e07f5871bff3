//! Profiles as the wire has them, turned into the rules that issuing follows.

use lamassu_core::ca::{
    Allowance, CaError, CryptoEnforcement, IssuanceProfile, Validity, ValidityType,
};
use lamassu_core::subject::Subject;
use lamassu_core::usage::{ExtendedKeyUsage, KeyUsage};
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, KeyPolicy, KeyUsageRule, Profile, SizeRule,
    SubjectAltNameRule, SubjectRule, Validity as IssuedValidity,
};
use lamassu_x509::{KeyUsageBit, ObjectIdentifier, SubjectFields};

use crate::limits::{further_purposes, name_constraints, refuse_negative};

/// The rules of a profile.
///
/// # Errors
///
/// [`CaError::Validation`] and [`CaError::Policy`] for a profile that would not be stored, but was sent
/// along.
pub(crate) fn rules(profile: &IssuanceProfile) -> Result<Profile, CaError> {
    refuse_negative(profile)?;
    let mut imposed = purposes(&profile.extended_key_usages);
    imposed.extend(further_purposes(profile)?);
    let constraints = name_constraints(profile)?;
    Ok(Profile {
        validity: validity(&profile.validity),
        back_dating: profile
            .back_dating
            .value()
            .map_or(time::Duration::ZERO, |back| (*back).into()),
        subject: if profile.honor_subject {
            SubjectRule::Honor
        } else {
            SubjectRule::Replace(subject_fields(&profile.subject))
        },
        key_usage: if profile.honor_key_usage {
            KeyUsageRule::Honor
        } else {
            KeyUsageRule::Replace(key_usage(profile.key_usage))
        },
        extended_key_usage: if profile.honor_extended_key_usages {
            ExtendedKeyUsageRule::Honor
        } else {
            ExtendedKeyUsageRule::Replace(imposed)
        },
        subject_alt_name: if profile.honor_extensions {
            SubjectAltNameRule::Honor
        } else {
            SubjectAltNameRule::Drop
        },
        role: if profile.sign_as_ca {
            CertificateRole::Ca {
                path_len_constraint: profile.path_length.value().copied(),
            }
        } else {
            CertificateRole::EndEntity
        },
        further_extensions: constraints
            .into_iter()
            .filter(|_| profile.sign_as_ca)
            .collect(),
        key_policy: key_policy(&profile.crypto_enforcement),
    })
}

/// The profile of a CA certificate where the client names none.
pub(crate) fn default_ca_profile(validity: Validity) -> IssuanceProfile {
    IssuanceProfile {
        validity,
        sign_as_ca: true,
        honor_subject: true,
        honor_extensions: true,
        key_usage: KeyUsage::CERT_SIGN.union(KeyUsage::CRL_SIGN),
        ..IssuanceProfile::default()
    }
}

/// The name with these six attributes as its only ones.
pub(crate) fn subject_fields(subject: &Subject) -> SubjectFields {
    subject.to_fields()
}

/// Every type but `Duration` means a fixed end, so a profile that says nothing ends in year 1.
fn validity(validity: &Validity) -> IssuedValidity {
    match validity.validity_type {
        ValidityType::Duration => IssuedValidity::Duration(validity.duration.into()),
        ValidityType::Time | ValidityType::Unset | ValidityType::Other(_) => {
            IssuedValidity::Until(validity.time.0)
        }
    }
}

fn key_usage(key_usage: KeyUsage) -> lamassu_x509::KeyUsage {
    KeyUsageBit::ALL
        .into_iter()
        .filter(|bit| key_usage.contains(KeyUsage(1 << (*bit as u8))))
        .collect()
}

fn purposes(usages: &[ExtendedKeyUsage]) -> Vec<ObjectIdentifier> {
    usages
        .iter()
        .filter_map(|usage| ObjectIdentifier::new(usage.oid()).ok())
        .collect()
}

fn key_policy(enforcement: &CryptoEnforcement) -> KeyPolicy {
    if !enforcement.enabled {
        return KeyPolicy::Any;
    }
    KeyPolicy::Enforced {
        rsa: sizes(
            enforcement.allow_rsa_keys,
            enforcement.allowed_rsa_key_sizes.as_ref(),
        ),
        ecdsa: sizes(
            enforcement.allow_ecdsa_keys,
            enforcement.allowed_ecdsa_key_sizes.as_ref(),
        ),
        ed25519: any_size(enforcement.allow_ed25519_keys),
        ml_dsa: any_size(enforcement.allow_mldsa_keys),
    }
}

fn sizes(allowed: bool, sizes: Option<&Vec<u32>>) -> SizeRule {
    match (allowed, sizes) {
        (false, _) => SizeRule::Forbidden,
        (true, None) => SizeRule::AnySize,
        (true, Some(sizes)) => SizeRule::OneOf(sizes.clone()),
    }
}

fn any_size(allowance: Allowance) -> SizeRule {
    if allowance.is_allowed() {
        SizeRule::AnySize
    } else {
        SizeRule::Forbidden
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyUsage, default_ca_profile, key_usage, rules};
    use lamassu_core::ca::Validity;
    use lamassu_x509::issue::{CertificateRole, KeyUsageRule};

    #[test]
    fn usages_keep_their_meaning() {
        let ca = KeyUsage::CERT_SIGN.union(KeyUsage::CRL_SIGN);
        assert_eq!(key_usage(ca), lamassu_x509::KeyUsage::ca());
        assert_eq!(key_usage(KeyUsage::NONE), lamassu_x509::KeyUsage::NONE);
    }

    #[test]
    fn the_default_profile_makes_a_ca() {
        let rules = rules(&default_ca_profile(Validity::default())).expect("rules");
        assert_eq!(
            rules.key_usage,
            KeyUsageRule::Replace(lamassu_x509::KeyUsage::ca())
        );
        assert_eq!(
            rules.role,
            CertificateRole::Ca {
                path_len_constraint: None
            }
        );
    }
}
