//! Whether a list may be believed, and about whom it speaks (RFC 5280 §6.3.3).

use bytes::Bytes;
use const_oid::ObjectIdentifier;
use lamassu_crypto::KeyError;
use time::{Duration, OffsetDateTime};

use super::CertificateList;
use crate::certificate::Certificate;
use crate::error::{Malformation, ParseError};
use crate::extensions::{KeyUsageBit, distribution_point_uris, full_name_uris};
use crate::oids;
use crate::signed::SignatureError;
use crate::tlv::{Reader, context, context_constructed};

/// Critical extensions whose meaning is honoured here.
const UNDERSTOOD: [ObjectIdentifier; 4] = [
    oids::CE_AUTHORITY_KEY_IDENTIFIER,
    oids::CE_CRL_NUMBER,
    oids::CE_DELTA_CRL_INDICATOR,
    oids::CE_ISSUING_DISTRIBUTION_POINT,
];

/// Why a list is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlRefusal {
    /// It is the list of somebody else.
    #[error("the CRL is not of this issuer")]
    OtherIssuer,
    /// The issuer's key is not usable.
    #[error("the issuer's key is not supported")]
    Key(#[source] KeyError),
    /// The issuer may not sign lists.
    #[error("the issuer's key usage leaves out signing CRLs")]
    Usage,
    /// The issuer did not sign it.
    #[error("the issuer did not sign the CRL")]
    Signature(#[source] SignatureError),
    /// It is from the future.
    #[error("the CRL is not valid yet")]
    NotYetValid,
    /// There should be a newer one by now.
    #[error("the CRL is outdated")]
    Outdated,
    /// It only tells what changed.
    #[error("the CRL is a delta CRL: it tells what changed since another one")]
    Delta,
    /// It does not tell what changed since the list that it would be combined with.
    #[error("the delta CRL is none of this CRL")]
    OtherBase,
    /// The list that it would be combined with is newer, and says everything that it says.
    #[error("the delta CRL is older than this CRL")]
    OlderDelta,
    /// A critical extension that is not understood.
    #[error("the CRL has an unknown critical extension")]
    CriticalExtension,
    /// An extension that matters does not decode.
    #[error("the CRL cannot be read")]
    Malformed(#[from] ParseError),
}

impl CertificateList {
    /// Checks that this is a complete list of the issuer, signed by it, and the newest that there must be.
    ///
    /// # Errors
    ///
    /// [`CrlRefusal`].
    pub fn check(
        &self,
        issuer: &Certificate,
        now: OffsetDateTime,
        clock_skew: Duration,
    ) -> Result<(), CrlRefusal> {
        if self.base_number()?.is_some() {
            return Err(CrlRefusal::Delta);
        }
        self.check_any(issuer, now, clock_skew)
    }

    /// Checks that this delta CRL tells what changed since a complete list, which was checked.
    ///
    /// # Errors
    ///
    /// [`CrlRefusal`]; [`CrlRefusal::OtherBase`] where it is none of that list (RFC 5280 §5.2.4),
    /// [`CrlRefusal::OlderDelta`] where that list is all one needs.
    pub fn check_delta(
        &self,
        complete: &Self,
        issuer: &Certificate,
        now: OffsetDateTime,
        clock_skew: Duration,
    ) -> Result<(), CrlRefusal> {
        self.check_any(issuer, now, clock_skew)?;
        let (base, number) = (self.base_number()?, complete.number()?);
        let reaches = base
            .zip(number)
            .is_some_and(|(base, number)| base <= number);
        if !reaches || self.scope()? != complete.scope()? {
            return Err(CrlRefusal::OtherBase);
        }
        if self.number()? < number {
            return Err(CrlRefusal::OlderDelta);
        }
        Ok(())
    }

    fn check_any(
        &self,
        issuer: &Certificate,
        now: OffsetDateTime,
        clock_skew: Duration,
    ) -> Result<(), CrlRefusal> {
        if !self.issuer().matches(issuer.subject()) {
            return Err(CrlRefusal::OtherIssuer);
        }
        let usage = issuer.extensions().key_usage()?;
        if usage.is_some_and(|usage| !usage.contains(KeyUsageBit::CrlSign)) {
            return Err(CrlRefusal::Usage);
        }
        let key = issuer.public_key().map_err(CrlRefusal::Key)?;
        self.verify_signed_by(&key).map_err(CrlRefusal::Signature)?;
        let known = |oid: &crate::Extension| UNDERSTOOD.iter().any(|known| oid.is(known));
        let mut extensions = self.extensions().iter();
        if extensions.any(|extension| extension.is_critical() && !known(extension)) {
            return Err(CrlRefusal::CriticalExtension);
        }
        if self.this_update() > now.saturating_add(clock_skew) {
            return Err(CrlRefusal::NotYetValid);
        }
        match self.next_update() {
            Some(next) if next.saturating_add(clock_skew) < now => Err(CrlRefusal::Outdated),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a certificate of the issuer would be on this list if it were revoked: a list may be
    /// about some of them only.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when an extension of the list or the certificate does not decode.
    pub fn is_about(&self, certificate: &Certificate) -> Result<bool, ParseError> {
        let Some(scope) = self.scope()? else {
            return Ok(true);
        };
        let points = certificate.extensions().access_locations()?.crl;
        let is_its_point =
            scope.uris.is_empty() || points.iter().any(|point| scope.uris.contains(point));
        let is_its_kind = match certificate.is_ca() {
            true => !scope.only_end_entities,
            false => !scope.only_cas,
        };
        Ok(is_its_point && is_its_kind && !scope.is_something_else)
    }

    /// Where a newer delta CRL is.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the extension does not decode.
    pub fn freshest(&self) -> Result<Vec<String>, ParseError> {
        let found = self
            .extensions()
            .parsed(&oids::CE_FRESHEST_CRL, distribution_point_uris)?;
        Ok(found.unwrap_or_default())
    }

    /// What the list is about, unless it is about everything that its issuer has issued.
    ///
    /// # Errors
    ///
    /// [`ParseError`] when the issuing distribution point does not decode.
    pub fn scope(&self) -> Result<Option<CrlScope>, ParseError> {
        self.extensions()
            .parsed(&oids::CE_ISSUING_DISTRIBUTION_POINT, CrlScope::read)
    }
}

/// What an issuing distribution point says of a list (RFC 5280 §5.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlScope {
    /// Certificates that name one of these addresses; of any, where there is none.
    pub uris: Vec<String>,
    /// Certificates of end entities.
    pub only_end_entities: bool,
    /// Certificates of CAs.
    pub only_cas: bool,
    /// Some reasons only, entries of other issuers, attribute certificates.
    pub is_something_else: bool,
}

impl std::fmt::Display for CrlScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.only_end_entities, self.only_cas) {
            (true, false) => "certificates of end entities",
            (false, true) => "certificates of CAs",
            (false, false) | (true, true) => "certificates",
        })?;
        if self.is_something_else {
            f.write_str(" of some kind")?;
        }
        match self.uris.as_slice() {
            [] => Ok(()),
            uris => write!(f, " that name {}", uris.join(" or ")),
        }
    }
}

impl CrlScope {
    /// `SEQUENCE { [0] distributionPoint, [1] onlyContainsUserCerts, [2] onlyContainsCACerts,
    /// [3] onlySomeReasons, [4] indirectCRL, [5] onlyContainsAttributeCerts }`, all optional.
    fn read(value: &Bytes) -> Result<Self, Malformation> {
        let mut outer = Reader::new(value);
        let mut fields = outer.sequence()?;
        outer.finish()?;
        let mut scope = Self::default();
        if let Some(name) = fields.optional(context_constructed(0))? {
            scope.uris = full_name_uris(name)?;
        }
        scope.only_end_entities = flag(&mut fields, 1)?;
        scope.only_cas = flag(&mut fields, 2)?;
        scope.is_something_else = fields.optional(context(3))?.is_some();
        scope.is_something_else |= flag(&mut fields, 4)?;
        scope.is_something_else |= flag(&mut fields, 5)?;
        fields.finish()?;
        Ok(scope)
    }
}

/// `[n] IMPLICIT BOOLEAN DEFAULT FALSE`
fn flag(fields: &mut Reader<'_>, n: u8) -> Result<bool, Malformation> {
    match fields.optional(context(n))? {
        None => Ok(false),
        Some(tlv) => match tlv.value {
            [octet] => Ok(*octet != 0),
            _ => Err(Malformation::InvalidBoolean),
        },
    }
}
