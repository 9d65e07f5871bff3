//! What a profile lets through of a finished certificate, looked at before it is signed, and
//! whether a profile makes sense when it is written.

use lamassu_core::ca::{AllowedSan, CaError, IssuanceProfile, NameConstraints, SanType, Subtrees};
use lamassu_core::pattern::Pattern;
use lamassu_core::usage::ExtendedKeyUsage;
use lamassu_x509::{Extension, GeneralName, ObjectIdentifier, Subtree, TbsCertificate};
use time::Duration;

/// Longest name of a profile: PostgreSQL takes no much longer one into an index.
const MAX_NAME_OCTETS: usize = 1_000;

/// The limits of a profile, its patterns compiled.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Any alternative name without a list, none with an empty one.
    alternative_names: Option<Vec<(SanType, Option<Pattern>)>>,
    common_name: Option<(String, Pattern)>,
    maximum_validity: Option<Duration>,
}

impl Limits {
    /// The limits that a profile sets.
    ///
    /// # Errors
    ///
    /// [`CaError::Policy`] for a pattern that does not compile.
    pub(crate) fn of(profile: &IssuanceProfile) -> Result<Self, CaError> {
        let allowed = profile.allowed_sans.value();
        let alternative_names = allowed
            .map(|allowed| allowed.iter().map(allowed_name).collect())
            .transpose()?;
        let common_name = profile
            .common_name_pattern
            .value()
            .map(|text| Ok::<_, CaError>((text.clone(), pattern("common_name_pattern", text)?)))
            .transpose()?;
        Ok(Self {
            alternative_names,
            common_name,
            maximum_validity: profile
                .maximum_validity
                .value()
                .map(|maximum| (*maximum).into()),
        })
    }

    /// Whether a certificate stays within them.
    ///
    /// # Errors
    ///
    /// [`CaError::Policy`] names the limit.
    pub(crate) fn check(&self, certificate: &TbsCertificate) -> Result<(), CaError> {
        self.check_validity(certificate)?;
        self.check_common_name(certificate)?;
        self.check_alternative_names(certificate)
    }

    fn check_validity(&self, certificate: &TbsCertificate) -> Result<(), CaError> {
        let lifetime = certificate.not_after() - certificate.not_before();
        match self.maximum_validity {
            Some(maximum) if lifetime > maximum => Err(CaError::Policy(
                "certificate would last longer than issuance profile allows".to_owned(),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn check_common_name(&self, certificate: &TbsCertificate) -> Result<(), CaError> {
        let Some((text, pattern)) = &self.common_name else {
            return Ok(());
        };
        let name = certificate.subject().common_name().unwrap_or_default();
        if pattern.matches(&name) {
            return Ok(());
        }
        Err(CaError::Policy(format!(
            "common name {name:?} does not match {text:?}, as issuance profile requires"
        )))
    }

    fn check_alternative_names(&self, certificate: &TbsCertificate) -> Result<(), CaError> {
        let Some(allowed) = &self.alternative_names else {
            return Ok(());
        };
        // What does not decode is no name that anybody has allowed.
        let names = certificate.extensions().subject_alt_names();
        let names = names.map_err(|error| CaError::Policy(error.to_string()))?;
        for name in names {
            let (kind, text) = form(&name);
            let is_allowed = allowed.iter().any(|(allowed, pattern)| {
                *allowed == kind
                    && pattern
                        .as_ref()
                        .is_none_or(|pattern| pattern.matches(&text))
            });
            if !is_allowed {
                return Err(CaError::Policy(format!(
                    "issuance profile does not allow the subject alternative name {kind} {text:?}"
                )));
            }
        }
        Ok(())
    }
}

fn allowed_name(allowed: &AllowedSan) -> Result<(SanType, Option<Pattern>), CaError> {
    let compiled = allowed
        .pattern
        .as_ref()
        .map(|text| pattern("allowed_sans", text))
        .transpose()?;
    Ok((allowed.san_type, compiled))
}

fn pattern(member: &'static str, text: &str) -> Result<Pattern, CaError> {
    Pattern::parse(text).map_err(|error| senseless(member, &error.to_string()))
}

/// The form of a name, and what patterns are compared with.
fn form(name: &GeneralName) -> (SanType, String) {
    match name {
        GeneralName::Rfc822(text) => (SanType::Email, text.clone()),
        GeneralName::Dns(text) => (SanType::Dns, text.clone()),
        GeneralName::Uri(text) => (SanType::Uri, text.clone()),
        GeneralName::Ip(address) => (SanType::Ip, address.to_string()),
        GeneralName::Directory(name) => (SanType::DirectoryName, name.to_string()),
        GeneralName::Other(der) => (SanType::Other, hex::encode(der)),
    }
}

/// Refuses a profile that cannot be meant so. Of the members that the reference has only negative
/// durations and a name that cannot be stored are refused: its clients store the oddest profiles.
///
/// # Errors
///
/// [`CaError::Validation`] for a negative lifetime, [`CaError::Policy`] naming any other member.
pub(crate) fn validate(profile: &IssuanceProfile) -> Result<(), CaError> {
    refuse_negative(profile)?;
    if profile.name.len() > MAX_NAME_OCTETS {
        let why = format!("it is longer than {MAX_NAME_OCTETS} octets");
        return Err(senseless("name", &why));
    }
    if let Some(maximum) = profile.maximum_validity.value() {
        if maximum.is_zero() || maximum.is_negative() {
            return Err(senseless("maximum_validity", "it is not longer than 0s"));
        }
        let back = profile.back_dating.value().copied().unwrap_or_default();
        let whole = Duration::from(profile.validity.duration).saturating_add(back.into());
        if whole > Duration::from(*maximum) {
            return Err(senseless(
                "maximum_validity",
                "validity, with back_dating, is longer",
            ));
        }
    }
    for (member, is_set) in [
        ("path_length", profile.path_length.value().is_some()),
        (
            "name_constraints",
            profile.name_constraints.value().is_some(),
        ),
    ] {
        if is_set && !profile.sign_as_ca {
            return Err(senseless(
                member,
                "it is for CAs, and sign_as_ca is not set",
            ));
        }
    }
    Limits::of(profile)?;
    further_purposes(profile)?;
    name_constraints(profile).map(drop)
}

/// Refuses what would let a certificate end before it begins, or begin in the future.
///
/// # Errors
///
/// As [`validate`].
pub(crate) fn refuse_negative(profile: &IssuanceProfile) -> Result<(), CaError> {
    if profile.validity.duration.is_negative() {
        return Err(CaError::Validation);
    }
    match profile.back_dating.value() {
        Some(back) if back.is_negative() => Err(senseless("back_dating", "it is negative")),
        Some(_) | None => Ok(()),
    }
}

/// The extended key usages that have no name.
pub(crate) fn further_purposes(
    profile: &IssuanceProfile,
) -> Result<Vec<ObjectIdentifier>, CaError> {
    let texts = profile.extended_key_usage_oids.value();
    let purpose = |text: &String| {
        if ExtendedKeyUsage::from_oid(text).is_some() {
            let why = format!("{text} has a name, and belongs into extended_key_usages");
            return Err(senseless("extended_key_usage_oids", &why));
        }
        ObjectIdentifier::new(text).map_err(|_| {
            let why = format!("{text:?} is no object identifier");
            senseless("extended_key_usage_oids", &why)
        })
    };
    texts.into_iter().flatten().map(purpose).collect()
}

/// The extension for the name constraints, if there are any.
pub(crate) fn name_constraints(profile: &IssuanceProfile) -> Result<Option<Extension>, CaError> {
    let Some(constraints) = profile.name_constraints.value() else {
        return Ok(None);
    };
    if constraints.is_empty() {
        return Err(senseless("name_constraints", "they constrain nothing"));
    }
    let NameConstraints {
        permitted,
        excluded,
    } = constraints;
    let extension = Extension::name_constraints(&subtrees(permitted)?, &subtrees(excluded)?);
    Ok(Some(extension))
}

fn subtrees(subtrees: &Subtrees) -> Result<Vec<Subtree>, CaError> {
    let Subtrees {
        dns,
        email,
        ip,
        uri,
    } = subtrees;
    let texts = dns.iter().chain(email).chain(uri);
    if let Some(odd) = texts
        .clone()
        .find(|text| text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_graphic()))
    {
        let why = format!("{odd:?} is not printable ASCII");
        return Err(senseless("name_constraints", &why));
    }
    let mut all: Vec<Subtree> = dns.iter().cloned().map(Subtree::Dns).collect();
    all.extend(email.iter().cloned().map(Subtree::Rfc822));
    all.extend(uri.iter().cloned().map(Subtree::Uri));
    for text in ip {
        let network = network(text);
        let why = || format!("{text:?} is no network such as 192.0.2.0/24");
        all.push(network.ok_or_else(|| senseless("name_constraints", &why()))?);
    }
    Ok(all)
}

fn network(text: &str) -> Option<Subtree> {
    let (address, bits) = text.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    (bits <= width).then_some(Subtree::Ip(address, bits))
}

fn senseless(member: &str, why: &str) -> CaError {
    CaError::Policy(format!("profile member {member}: {why}"))
}
