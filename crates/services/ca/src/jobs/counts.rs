//! Makes few rows of the many that counting certificates adds on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Dialect, Job, JobError, NextRun};
use time::{Duration, OffsetDateTime};

use crate::service::CaService;
use crate::store::certificate::merge_counts;

/// How often it is looked. Thousands of certificates a second are then read in a few
/// milliseconds.
const INTERVAL: Duration = Duration::seconds(10);

/// Where nothing is to be done.
const LONGEST_SLEEP: Duration = Duration::days(1);

/// The job that keeps the counts short.
#[derive(Debug)]
pub(crate) struct CertificateCounts {
    service: Arc<CaService>,
}

impl CertificateCounts {
    pub(crate) const NAME: &'static str = "ca-certificate-counts";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for CertificateCounts {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, _caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        if let Some(set) = merge_counts(db).await? {
            db.commit(set).await?;
        }
        Ok(NextRun::At(match db.dialect() {
            Dialect::Postgres => now + INTERVAL,
            Dialect::Sqlite => now + LONGEST_SLEEP,
        }))
    }
}
