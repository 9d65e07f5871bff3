//! All CAs in memory, by the names under which OCSP requests and CRL addresses mean them.
//!
//! Read as a whole: when an event says that a CA changed, when the table is a minute old (another
//! process may have seen that event), and when somebody asks for a CA that is not in it, which may
//! be younger than the table. The last is open to anybody, so it is rationed, but for background
//! work, which acts on a CA's absence and must be sure of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lamassu_core::ca::{CaError, CaService, CertificateAuthority};
use lamassu_core::caller::Caller;
use lamassu_core::ids::CaId;
use lamassu_x509::ocsp::IssuerKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::authority::Authority;

/// CAs per call of the CA service.
const PAGE: u32 = 500;

/// A table older than this is read anew.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Reads on behalf of unknown names: so many at once,
const RATION: u32 = 10;

/// and one more after each such time.
const RATION_EVERY: Duration = Duration::from_secs(1);

/// On whose behalf a CA is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Whoever sends a request: a CA that is not found may be one that was not looked for.
    Anybody,
    /// Background work: a CA that is not found does not exist.
    Job,
}

/// One reading of all CAs.
#[derive(Debug)]
struct Snapshot {
    by_issuer: HashMap<IssuerKey, Vec<Arc<Authority>>>,
    by_ski: HashMap<String, Arc<Authority>>,
    by_id: HashMap<CaId, Arc<Authority>>,
    read_at: Instant,
    version: u64,
}

/// The table; see the module.
#[derive(Debug)]
pub(crate) struct AuthorityTable {
    ca: Arc<dyn CaService>,
    current: RwLock<Option<Arc<Snapshot>>>,
    /// Counts what happened to CAs; a snapshot of another count is outdated.
    version: AtomicU64,
    /// Held while reading, so that many who wait for a reading cause one.
    reading: Mutex<Ration>,
}

impl AuthorityTable {
    pub(crate) fn new(ca: Arc<dyn CaService>) -> Self {
        Self {
            ca,
            current: RwLock::new(None),
            version: AtomicU64::new(0),
            reading: Mutex::new(Ration::full()),
        }
    }

    /// Says that a CA was made or changed.
    pub(crate) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The CAs that an OCSP request means by this name; several may share name and key.
    pub(crate) async fn by_issuer(
        &self,
        caller: &Caller,
        issuer: &IssuerKey,
    ) -> Result<Vec<Arc<Authority>>, CaError> {
        let found = self
            .find(caller, Asker::Anybody, |snapshot| {
                snapshot.by_issuer.get(issuer).cloned()
            })
            .await?;
        Ok(found.unwrap_or_default())
    }

    /// The CA with this key identifier, lower-case hex; the first by id where several share it.
    pub(crate) async fn by_ski(
        &self,
        caller: &Caller,
        ski: &str,
    ) -> Result<Option<Arc<Authority>>, CaError> {
        self.find(caller, Asker::Anybody, |snapshot| {
            snapshot.by_ski.get(ski).cloned()
        })
        .await
    }

    /// The CA that the CRLs of a role are of: the one with this id, or where it is gone another
    /// one with its key identifier. A new CA may have the id of one that is gone.
    pub(crate) async fn of_role(
        &self,
        caller: &Caller,
        id: &CaId,
        ski: &str,
        asker: Asker,
    ) -> Result<Option<Arc<Authority>>, CaError> {
        let found = self
            .find(caller, asker, |snapshot| {
                let named = snapshot.by_id.get(id).filter(|found| found.ski == ski);
                named.or_else(|| snapshot.by_ski.get(ski)).cloned()
            })
            .await?;
        if found.is_none() && asker == Asker::Job {
            // The table leaves out what the CA service cannot read; that is not gone.
            match self.ca.ca(caller, id).await {
                Ok(_) | Err(CaError::CaNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The CAs with this CA's name and key, itself first.
    pub(crate) async fn sharing(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Vec<CaId>, CaError> {
        let [issuer, ..] = authority.issuer_keys();
        let same = self.by_issuer(caller, issuer).await?;
        let others = same
            .iter()
            .map(|other| other.id.clone())
            .filter(|id| *id != authority.id);
        Ok([authority.id.clone()].into_iter().chain(others).collect())
    }

    /// All CAs as they are now.
    pub(crate) async fn all(&self, caller: &Caller) -> Result<Vec<Arc<Authority>>, CaError> {
        self.outdate();
        let snapshot = self.fresh(caller).await?;
        Ok(snapshot.by_id.values().cloned().collect())
    }

    async fn find<T>(
        &self,
        caller: &Caller,
        asker: Asker,
        look: impl Fn(&Snapshot) -> Option<T>,
    ) -> Result<Option<T>, CaError> {
        let snapshot = self.fresh(caller).await?;
        if let Some(found) = look(&snapshot) {
            return Ok(Some(found));
        }
        let mut ration = self.reading.lock().await;
        if let Some(newer) = self.read_since(&snapshot) {
            return Ok(look(&newer));
        }
        if asker == Asker::Anybody && !ration.take(Instant::now()) {
            return Ok(None);
        }
        Ok(look(&*self.read(caller).await?))
    }

    /// A table that is not known to be outdated.
    async fn fresh(&self, caller: &Caller) -> Result<Arc<Snapshot>, CaError> {
        let seen = self.snapshot();
        if let Some(snapshot) = &seen
            && self.is_fresh(snapshot)
        {
            return Ok(Arc::clone(snapshot));
        }
        let _reading = self.reading.lock().await;
        match self.snapshot() {
            Some(snapshot) if self.is_fresh(&snapshot) => Ok(snapshot),
            _ => self.read(caller).await,
        }
    }

    fn is_fresh(&self, snapshot: &Snapshot) -> bool {
        snapshot.version == self.version.load(Ordering::Acquire)
            && snapshot.read_at.elapsed() < MAX_AGE
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// The table, if somebody read it after `seen`.
    fn read_since(&self, seen: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.snapshot()
            .filter(|current| !Arc::ptr_eq(current, seen))
    }

    /// Reads all CAs. The caller holds `reading`.
    async fn read(&self, caller: &Caller) -> Result<Arc<Snapshot>, CaError> {
        // Noted before reading: what happens meanwhile outdates the result.
        let mut snapshot = Snapshot::empty(self.version.load(Ordering::Acquire));
        let mut after: Option<CaId> = None;
        loop {
            let page = self.ca.authorities(caller, after.as_ref(), PAGE).await?;
            page.iter().for_each(|ca| snapshot.add(ca));
            // A page may lack CAs that cannot be read: only an empty one is the last.
            match page.last() {
                Some(last) => after = Some(last.id.clone()),
                None => break,
            }
        }
        let snapshot = Arc::new(snapshot);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

impl Snapshot {
    fn empty(version: u64) -> Self {
        Self {
            by_issuer: HashMap::new(),
            by_ski: HashMap::new(),
            by_id: HashMap::new(),
            read_at: Instant::now(),
            version,
        }
    }

    fn add(&mut self, ca: &CertificateAuthority) {
        let authority = match Authority::try_from(ca) {
            Ok(authority) => Arc::new(authority),
            Err(error) => {
                tracing::warn!(ca_id = %ca.id, error = &error as &(dyn std::error::Error + 'static), "ca certificate not readable");
                return;
            }
        };
        for issuer in authority.issuer_keys() {
            let same = self.by_issuer.entry(issuer.clone()).or_default();
            same.push(Arc::clone(&authority));
        }
        self.by_ski
            .entry(authority.ski.clone())
            .or_insert_with(|| Arc::clone(&authority));
        self.by_id.insert(authority.id.clone(), authority);
    }
}

/// How many more readings unknown names may cause.
#[derive(Debug)]
struct Ration {
    left: u32,
    counted_at: Instant,
}

impl Ration {
    fn full() -> Self {
        Self {
            left: RATION,
            counted_at: Instant::now(),
        }
    }

    /// Whether there is one more reading; takes it.
    fn take(&mut self, now: Instant) -> bool {
        while self.left < RATION && now.duration_since(self.counted_at) >= RATION_EVERY {
            self.left += 1;
            self.counted_at += RATION_EVERY;
        }
        if self.left == RATION {
            self.counted_at = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RATION, Ration};

    #[test]
    fn readings_for_unknown_names_are_rationed() {
        let mut ration = Ration::full();
        let start = ration.counted_at;
        let taken = (0..50).filter(|_| ration.take(start)).count();
        assert_eq!(taken, usize::try_from(RATION).unwrap());
        assert!(!ration.take(start + Duration::from_millis(999)));
        assert!(ration.take(start + Duration::from_millis(1_001)));
        assert!(!ration.take(start + Duration::from_millis(1_002)));
        let rested = start + Duration::from_secs(3_600);
        let taken = (0..50).filter(|_| ration.take(rested)).count();
        assert_eq!(taken, usize::try_from(RATION).unwrap());
    }
}
