//! Keeps up what lists and counts of certificates are found by and what is not worth doing beside
//! every single certificate.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Job, JobError, NextRun};
use time::{Duration, OffsetDateTime};

use crate::service::CaService;
use crate::store::certificate::{add_texts, merge_counts};

/// How often it is looked. What thousands of certificates a second leave until then is read in a few
/// milliseconds.
const INTERVAL: Duration = Duration::seconds(2);

/// The job that sums up counts (PostgreSQL) and adds names and serial numbers to the indexes of their
/// trigrams (SQLite).
#[derive(Debug)]
pub(crate) struct CertificateUpkeep {
    service: Arc<CaService>,
}

impl CertificateUpkeep {
    pub(crate) const NAME: &'static str = "ca-certificate-upkeep";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for CertificateUpkeep {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, _caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        if let Some(set) = merge_counts(db).await? {
            db.commit(set).await?;
        }
        while let Some(set) = add_texts(db).await? {
            db.commit(set).await?;
        }
        Ok(NextRun::At(now + INTERVAL))
    }
}
