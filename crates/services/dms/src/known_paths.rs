//! Certification paths that were validated before.
//!
//! A line enrolls thousands of devices with one bootstrap certificate, and verifying its signature
//! costs more than anything else about it. Which certificates prove which is a property of their
//! bytes, so it is looked up by their digests; only time passes, and outside of the dates that all
//! of them share a path is validated again. Refusals are not remembered, and revocation is asked for
//! every time, elsewhere.

use lamassu_x509::Certificate;
use lamassu_x509::path::{Expiry, PathError, PathIssuer, PathRules, validate};
use moka::sync::Cache;
use time::OffsetDateTime;

/// Most paths that are remembered; a device that renews needs its path once.
const MAX_PATHS: u64 = 1_000;

/// A path that is good while all of its certificates are valid.
#[derive(Clone, Debug)]
struct KnownPath {
    issuer: PathIssuer,
    /// The latest `notBefore`.
    from: OffsetDateTime,
    /// The earliest `notAfter`.
    until: OffsetDateTime,
}

/// Validates paths, each once. All callers use the same limits of [`PathRules`].
#[derive(Debug)]
pub(crate) struct KnownPaths(Cache<Vec<u8>, KnownPath>);

impl KnownPaths {
    pub(crate) fn new() -> Self {
        Self(Cache::new(MAX_PATHS))
    }

    /// As [`validate`].
    ///
    /// # Errors
    /// [`PathError`].
    pub(crate) fn validate(
        &self,
        end_entity: &Certificate,
        intermediates: &[Certificate],
        anchor: &Certificate,
        rules: &PathRules,
    ) -> Result<PathIssuer, PathError> {
        let presented = || std::iter::once(end_entity).chain(intermediates);
        let key = key(rules.expiry, presented().chain([anchor]));
        if let Some(known) = self.0.get(&key)
            && (known.from..=known.until).contains(&rules.now)
        {
            return Ok(known.issuer);
        }
        let issuer = validate(end_entity, intermediates, anchor, rules)?;
        let path = || {
            let above = issuer.intermediates();
            std::iter::once(end_entity).chain(above).chain([anchor])
        };
        if let Some(from) = path().map(|certificate| certificate.not_before()).max()
            && let Some(until) = path().map(|certificate| certificate.not_after()).min()
        {
            let issuer = issuer.clone();
            self.0.insert(
                key,
                KnownPath {
                    issuer,
                    from,
                    until,
                },
            );
        }
        Ok(issuer)
    }
}

/// Names exactly these certificates, in this order, under these rules.
fn key<'c>(expiry: Expiry, certificates: impl Iterator<Item = &'c Certificate>) -> Vec<u8> {
    let rule = match expiry {
        Expiry::Considered => 0,
        Expiry::Ignored => 1,
    };
    let digests = certificates.flat_map(Certificate::fingerprint_sha256);
    std::iter::once(rule).chain(digests).collect()
}
