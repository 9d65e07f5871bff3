//! CAs, profiles and DMSs as enrollment needs them, kept for a moment.
//!
//! What is kept is dropped when an event tells of a change. The short life covers changes made by
//! another process, and the status of a CA's certificate that was set as that of any certificate:
//! to listen for those would cost a write for each renewal. Nothing is issued by what stands here:
//! the CA reads its own rows again.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lamassu_core::ca::{CaError, CaService, CertificateAuthority, IssuanceProfile};
use lamassu_core::caller::Caller;
use lamassu_core::dms::{Dms, DmsError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, DmsId, ProfileId};
use lamassu_core::query::ListRequest;
use lamassu_x509::Certificate;
use moka::sync::Cache;

/// How long an entry lives without an event.
const LIFE: Duration = Duration::from_secs(10);
/// How long a DMS lives: so long a change by another process of the DMS manager may go unseen.
const LIFE_OF_DMS: Duration = Duration::from_secs(1);
/// Most DMSs, most CAs, most profiles, and most certificates of CAs that are kept.
const MAX_ENTRIES: u64 = 1_000;
/// CAs of one name that are read at once.
const PAGE: u32 = 100;

/// A CA with its certificate parsed.
#[derive(Debug)]
pub(crate) struct KnownCa {
    pub(crate) authority: CertificateAuthority,
    pub(crate) certificate: Certificate,
}

impl TryFrom<CertificateAuthority> for KnownCa {
    type Error = StorageFailure;

    fn try_from(authority: CertificateAuthority) -> Result<Self, StorageFailure> {
        let certificate = Certificate::from_der(authority.certificate.certificate.der().clone())
            .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
        Ok(Self {
            authority,
            certificate,
        })
    }
}

/// The CAs and profiles of the CA service.
pub(crate) struct Directory {
    ca: Arc<dyn CaService>,
    authorities: Cache<CaId, Arc<KnownCa>>,
    profiles: Cache<ProfileId, Arc<IssuanceProfile>>,
    dmss: Cache<DmsId, Arc<Dms>>,
    /// By the fingerprint of a certificate with the CA's name and key.
    namesakes: Cache<Vec<u8>, Arc<[KnownCa]>>,
    /// Counts changes, so that what was read before one is not kept after it.
    generation: AtomicU64,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) fn new(ca: Arc<dyn CaService>) -> Self {
        Self {
            ca,
            authorities: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LIFE)
                .build(),
            profiles: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LIFE)
                .build(),
            dmss: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LIFE_OF_DMS)
                .build(),
            namesakes: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LIFE)
                .build(),
            generation: AtomicU64::new(0),
        }
    }

    /// The CA of this id.
    pub(crate) async fn authority(
        &self,
        caller: &Caller,
        id: &CaId,
    ) -> Result<Arc<KnownCa>, CaError> {
        if let Some(known) = self.authorities.get(id) {
            return Ok(known);
        }
        let read_at = self.generation.load(Ordering::Acquire);
        let known = Arc::new(KnownCa::try_from(self.ca.ca(caller, id).await?)?);
        self.keep(&self.authorities, id, &known, read_at);
        Ok(known)
    }

    /// The CAs that have the subject and the key of this certificate, whichever of their
    /// certificates it is; hardly ever more than one. That there is none is asked every time.
    pub(crate) async fn authorities_of(
        &self,
        caller: &Caller,
        certificate: &Certificate,
    ) -> Result<Arc<[KnownCa]>, CaError> {
        let fingerprint = certificate.fingerprint_sha256();
        if let Some(known) = self.namesakes.get(&fingerprint) {
            return Ok(known);
        }
        let read_at = self.generation.load(Ordering::Acquire);
        let known: Arc<[KnownCa]> = self.read_namesakes(caller, certificate).await?.into();
        if !known.is_empty() {
            self.keep(&self.namesakes, &fingerprint, &known, read_at);
        }
        Ok(known)
    }

    async fn read_namesakes(
        &self,
        caller: &Caller,
        certificate: &Certificate,
    ) -> Result<Vec<KnownCa>, CaError> {
        if certificate.subject().refuse_nul().is_err() {
            // Nothing of ours is called so, and no database can be asked for it.
            return Ok(Vec::new());
        }
        let common_name = certificate.subject().common_name().unwrap_or_default();
        let mut request = ListRequest {
            page_size: PAGE,
            ..ListRequest::default()
        };
        let mut found = Vec::new();
        loop {
            let page = self
                .ca
                .cas_by_common_name(caller, &common_name, &request)
                .await?;
            for authority in page.list {
                let known = KnownCa::try_from(authority)?;
                if known.certificate.spki_der() == certificate.spki_der()
                    && known.certificate.subject().matches(certificate.subject())
                {
                    found.push(known);
                }
            }
            if page.next.is_empty() {
                return Ok(found);
            }
            request.bookmark = Some(page.next);
        }
    }

    /// The profile of this id.
    pub(crate) async fn profile(
        &self,
        caller: &Caller,
        id: &ProfileId,
    ) -> Result<Arc<IssuanceProfile>, CaError> {
        if let Some(known) = self.profiles.get(id) {
            return Ok(known);
        }
        let read_at = self.generation.load(Ordering::Acquire);
        let profile = Arc::new(self.ca.profile(caller, id).await?);
        self.keep(&self.profiles, id, &profile, read_at);
        Ok(profile)
    }

    /// The DMS of this id; `read` reads its row.
    pub(crate) async fn dms(
        &self,
        id: &DmsId,
        read: impl Future<Output = Result<Dms, DmsError>>,
    ) -> Result<Arc<Dms>, DmsError> {
        if let Some(known) = self.dmss.get(id) {
            return Ok(known);
        }
        let read_at = self.generation.load(Ordering::Acquire);
        let dms = Arc::new(read.await?);
        self.keep(&self.dmss, id, &dms, read_at);
        Ok(dms)
    }

    /// Keeps what was read, unless something was dropped since: looked at once it is in, so that no
    /// change falls in between.
    fn keep<K, V>(&self, cache: &Cache<K, Arc<V>>, key: &K, read: &Arc<V>, read_at: u64)
    where
        K: Clone + Hash + Eq + Send + Sync + 'static,
        V: ?Sized + Send + Sync + 'static,
    {
        cache.insert(key.clone(), Arc::clone(read));
        if self.generation.load(Ordering::Acquire) != read_at {
            cache.invalidate(key);
        }
    }

    /// Drops everything.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.authorities.invalidate_all();
        self.profiles.invalidate_all();
        self.dmss.invalidate_all();
        self.namesakes.invalidate_all();
    }
}
