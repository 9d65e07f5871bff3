//! Making one CRL: entries from the store, signature from the KMS.

use bytes::Bytes;
use lamassu_core::ca::{CaError, Member};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::duration::WireDuration;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{CrlOptions, CrlShard, LatestCrl, VaError};
use lamassu_crypto::{Message, PublicKey};
use lamassu_db::DbError;
use lamassu_x509::SignatureError;
use lamassu_x509::crl::{
    CrlBuilder, CrlError, CrlFields, CrlNumber, delta_crl_indicator, expired_certs_on_crl,
    freshest_crl, issuing_distribution_point,
};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::files::FileError;
use crate::metrics::{self, CrlKind};
use crate::service::VaService;
use crate::signing::{SigningError, signer};
use crate::store::delta::ReleasedStream;
use crate::store::revoked::EntryStream;

/// Options of a role that nobody has changed: valid for a week, renewed an hour before its end.
pub(crate) fn default_options(ski: &str) -> CrlOptions {
    CrlOptions {
        refresh_interval: WireDuration::from_secs(7 * 86_400 - 3_600),
        validity: DEFAULT_VALIDITY,
        subject_key_id_signer: ski.to_owned(),
        regenerate_on_revoke: true,
        delta_validity: Member::Unsaid,
    }
}

const DEFAULT_VALIDITY: WireDuration = WireDuration::from_secs(7 * 86_400);

/// Longest time by which a CRL is renewed before it expires, where its role does not say.
const RENEWAL_MARGIN: Duration = Duration::HOUR;

/// What the next CRL of a CA shall be.
#[derive(Clone, Debug)]
pub(crate) struct CrlPlan {
    pub(crate) number: u64,
    pub(crate) now: OffsetDateTime,
    pub(crate) next_update: OffsetDateTime,
    pub(crate) scope: Scope,
}

/// What a CRL is about.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All revoked certificates.
    Complete {
        /// Certificates that expired before this were on a list after their end and leave it.
        expired_before: Option<OffsetDateTime>,
        /// Where its delta CRLs are.
        freshest: Vec<String>,
    },
    /// What changed since a complete CRL.
    Delta {
        /// Its number.
        base: u64,
        /// When its entries were read, or earlier: what it has already may stand here again.
        since: OffsetDateTime,
    },
    /// The revoked certificates of one shard.
    Shard {
        shard: CrlShard,
        /// As in a complete CRL.
        expired_before: Option<OffsetDateTime>,
        /// Where the list is, as its certificates say: who has another certificate must not take it for
        /// the list of that one.
        addresses: Vec<String>,
    },
}

impl Scope {
    const fn kind(&self) -> CrlKind {
        match self {
            Self::Shard { shard, .. } => CrlKind::Shard(*shard),
            Self::Complete { .. } => CrlKind::Complete,
            Self::Delta { .. } => CrlKind::Delta,
        }
    }
}

/// A signed CRL that is stored nowhere yet.
#[derive(Clone, Debug)]
pub(crate) struct MadeCrl {
    pub(crate) kind: CrlKind,
    pub(crate) der: Bytes,
    pub(crate) number: u64,
    pub(crate) this_update: OffsetDateTime,
    pub(crate) next_update: OffsetDateTime,
    pub(crate) n_entries: u64,
}

impl MadeCrl {
    /// What a role says of it.
    pub(crate) fn latest(&self) -> LatestCrl {
        LatestCrl {
            version: self.number,
            valid_from: Timestamp(self.this_update),
            valid_until: Timestamp(self.next_update),
        }
    }
}

/// Why a CRL was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeCrlError {
    /// The CA's certificate does not permit it, or its key is not here.
    #[error("the CA cannot sign CRLs")]
    NotPossible(#[source] Option<SigningError>),
    /// A CRL of a shard that does not say which one it is of would pass for a complete one.
    #[error("va_domains names no address for the CRL of a shard")]
    NoAddress,
    /// Another CA, which is deleted, has a last CRL here that is still needed.
    #[error("the last CRL of a deleted CA that called its key the same is still valid")]
    OthersCrl,
    /// The CA's key did not sign this time.
    #[error(transparent)]
    Signing(SigningError),
    /// The list cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] CrlError),
    /// The CA's certificate has a key that is not supported.
    #[error("the public key of the CA is not supported")]
    Key(#[from] lamassu_crypto::KeyError),
    /// The signature is not that of the CA's key.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The CA service does not say which CAs there are.
    #[error("the CAs could not be read")]
    Authorities(#[from] CaError),
    /// The entries could not be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The process is ending.
    #[error("the CRL was not finished")]
    Unfinished(#[from] tokio::task::JoinError),
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<SigningError> for MakeCrlError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::NoKey(_) => Self::NotPossible(Some(error)),
            SigningError::WrongKey
            | SigningError::NotDelegated(_)
            | SigningError::LostDelegate(_)
            | SigningError::Kms(_)
            | SigningError::Engine(_) => Self::Signing(error),
        }
    }
}

impl From<MakeCrlError> for VaError {
    fn from(error: MakeCrlError) -> Self {
        match error {
            MakeCrlError::NotPossible(_) | MakeCrlError::NoAddress | MakeCrlError::OthersCrl => {
                Self::CrlNotFound(Some(Box::new(error)))
            }
            MakeCrlError::Signing(error) if error.is_temporary() => {
                Self::Unavailable(Box::new(error))
            }
            MakeCrlError::Authorities(error) => no_ca_data(error),
            MakeCrlError::Db(error) => Self::Storage(error.into()),
            error => Self::CrlFailed(Box::new(error)),
        }
    }
}

impl VaService {
    /// Makes and signs a CRL (RFC 5280 §5), for this CA and all that share its name and
    /// key: relying parties cannot tell them apart. One pass over the entries, which are never
    /// all in memory but as the list itself.
    pub(crate) async fn make_crl(
        &self,
        caller: &Caller,
        authority: &Authority,
        plan: CrlPlan,
    ) -> Result<MadeCrl, MakeCrlError> {
        // 1. Who signs, and whether it may.
        if !authority.may_sign_crls() {
            return Err(MakeCrlError::NotPossible(None));
        }
        let signer = signer(self.kms.as_ref(), caller, authority).await?;
        let public_key = authority.certificate.public_key()?;
        // 2. What the list says.
        let begun = Instant::now();
        let this_update = whole_seconds(self.back_dated(plan.now));
        let next_update = whole_seconds(plan.next_update);
        let mut builder = CrlBuilder::new(&CrlFields {
            issuer: authority.certificate.subject().clone(),
            authority_key_identifier: Some(authority.key_identifier()),
            number: CrlNumber(plan.number),
            this_update,
            next_update,
            scheme: public_key.default_scheme(),
        })?;
        let mut n_entries = 0_u64;
        let kind = plan.scope.kind();
        if !self.config.crl.prune_expired && kind != CrlKind::Delta && authority.is_known_whole {
            // Whoever checks old signatures may rely on the list: all that the CA ever issued stays on it. What a
            // CA revoked before it was taken in, nobody knows here.
            let since = authority.certificate.not_before();
            builder.push_extension(expired_certs_on_crl(since));
        }
        let cas = self.authorities.sharing(caller, authority).await?;
        match plan.scope {
            Scope::Complete {
                expired_before,
                freshest,
            } => {
                freshest_crl(freshest)
                    .into_iter()
                    .for_each(|extension| builder.push_extension(extension));
                for ca_id in &cas {
                    let entries = EntryStream::open(&self.db, ca_id, expired_before).await?;
                    n_entries += push_all(&mut builder, entries).await?;
                }
            }
            Scope::Delta { base, since } => {
                builder.push_extension(delta_crl_indicator(CrlNumber(base)));
                for ca_id in &cas {
                    let entries = EntryStream::changed(&self.db, ca_id, since).await?;
                    n_entries += push_all(&mut builder, entries).await?;
                    let released = ReleasedStream::open(&self.db, ca_id, since).await?;
                    n_entries += push_released(&mut builder, released).await?;
                }
            }
            Scope::Shard {
                shard,
                expired_before,
                addresses,
            } => {
                if addresses.is_empty() {
                    return Err(MakeCrlError::NoAddress);
                }
                builder.push_extension(issuing_distribution_point(&addresses));
                for ca_id in &cas {
                    let entries = EntryStream::of_shard(&self.db, ca_id, shard, expired_before);
                    n_entries += push_all(&mut builder, entries.await?).await?;
                }
            }
        }
        // 3. Sign, and believe nothing but what verifies with the CA's certificate.
        let der = signed(builder, signer.as_ref(), &public_key).await?;
        metrics::crl_built(n_entries, der.len(), begun.elapsed());
        Ok(MadeCrl {
            kind,
            der,
            number: plan.number,
            this_update,
            next_update,
            n_entries,
        })
    }

    /// When the CRL after one made at `now` is due by time, if ever.
    pub(crate) fn renewal_due(
        &self,
        options: &CrlOptions,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        self.config
            .crl_monitoring_job
            .enabled
            .then(|| now.saturating_add(usable_refresh(options)))
    }
}

/// Adds the revoked certificates to a list; says how many.
async fn push_all(builder: &mut CrlBuilder, mut entries: EntryStream) -> Result<u64, MakeCrlError> {
    let mut n_entries = 0_u64;
    while let Some(chunk) = entries.next().await? {
        for entry in &chunk {
            builder.push(entry)?;
            n_entries = n_entries.saturating_add(1);
        }
    }
    Ok(n_entries)
}

/// Adds the released holds to a delta CRL; says how many.
async fn push_released(
    builder: &mut CrlBuilder,
    mut entries: ReleasedStream,
) -> Result<u64, MakeCrlError> {
    let mut n_entries = 0_u64;
    while let Some(chunk) = entries.next().await? {
        for entry in &chunk {
            builder.push_removed(entry)?;
            n_entries = n_entries.saturating_add(1);
        }
    }
    Ok(n_entries)
}

/// The signed list. It is hashed once, for the signature and its verification, beside the threads
/// that answer requests: it may be long.
async fn signed(
    builder: CrlBuilder,
    signer: &dyn Signer,
    key: &PublicKey,
) -> Result<Bytes, MakeCrlError> {
    let (list, digest) = tokio::task::spawn_blocking(|| {
        let list = builder.finish();
        let hash = list.scheme().hash();
        let digest = hash.map(|hash| hash.digest(list.as_bytes()));
        (list, digest)
    })
    .await?;
    let scheme = list.scheme();
    let message = match &digest {
        Some(digest) => Message::Digest(digest),
        None => Message::Raw(list.as_bytes()),
    };
    let signature = signer.sign(scheme, message).await;
    let signature = signature.map_err(SigningError::from)?;
    key.verify(scheme, message, &signature)
        .map_err(SignatureError::Mismatch)?;
    Ok(list.assemble(&signature))
}

/// When the delta CRL after one that is valid for so long is due: early enough to be fetched.
pub(crate) fn delta_refresh(validity: WireDuration) -> Duration {
    let validity = usable_validity(validity);
    validity - RENEWAL_MARGIN.min(validity / 2)
}

/// When a CRL made at `now` ends that is valid for so long.
pub(crate) fn end_of(now: OffsetDateTime, validity: WireDuration) -> OffsetDateTime {
    now.saturating_add(usable_validity(validity))
}

/// A validity that does not end before it begins.
fn usable_validity(validity: WireDuration) -> Duration {
    if validity < WireDuration::from_secs(1) {
        DEFAULT_VALIDITY.into()
    } else {
        validity.into()
    }
}

/// The refresh interval, or where it makes no sense (zero, or not before the CRL expires) a time
/// that leaves relying parties enough to fetch the next one.
pub(crate) fn usable_refresh(options: &CrlOptions) -> Duration {
    let validity = usable_validity(options.validity);
    let refresh = Duration::from(options.refresh_interval);
    if refresh.is_positive() && refresh < validity {
        return refresh;
    }
    validity - RENEWAL_MARGIN.min(validity / 2)
}

/// X.509 times have no fractions of a second; cut, so that what we say elsewhere is the same.
pub(crate) fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use lamassu_core::va::CrlOptions;
    use time::Duration;

    use super::{default_options, usable_refresh};

    fn options(refresh: &str, validity: &str) -> CrlOptions {
        CrlOptions {
            refresh_interval: refresh.parse().unwrap(),
            validity: validity.parse().unwrap(),
            ..default_options("aa")
        }
    }

    #[test]
    fn the_defaults_print_as_clients_know_them() {
        let options = default_options("aa");
        assert_eq!(options.refresh_interval.to_string(), "6d23h");
        assert_eq!(options.validity.to_string(), "1w");
    }

    #[test]
    fn a_crl_is_always_renewed_before_it_expires() {
        let cases = [
            ("6d23h", "1w", Duration::hours(167)),
            ("6d23h", "2h", Duration::hours(1)),
            ("0s", "1w", Duration::hours(167)),
            ("1d", "1d", Duration::hours(23)),
            ("-1h", "10s", Duration::seconds(5)),
            ("1h", "0s", Duration::hours(1)),
            ("0s", "0s", Duration::hours(167)),
        ];
        for (refresh, validity, expected) in cases {
            let options = options(refresh, validity);
            assert_eq!(
                usable_refresh(&options),
                expected,
                "{refresh} of {validity}"
            );
        }
    }
}
