//! Finishes what goes down from CAs and was too much for the request that caused it.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_db::{Job, JobError, NextRun, WriteSet};
use time::{Duration, OffsetDateTime};

use crate::service::CaService;
use crate::store::cascade;

/// Cascades per query.
const BATCH: u32 = 64;

/// Certificates of one cascade per run: others get their turn.
const PER_RUN: i64 = 20_000;

/// How long a finished cascade can be looked up.
const REMEMBERED: Duration = Duration::days(7);

/// The job that goes on with cascades.
#[derive(Debug)]
pub(crate) struct Cascades {
    service: Arc<CaService>,
}

impl Cascades {
    pub(crate) const NAME: &'static str = "ca-cascades";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for Cascades {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let service = &self.service;
        let mut failed = None;
        let mut next: Option<OffsetDateTime> = None;
        let mut last = None;
        loop {
            let batch = cascade::open(&service.db, last.as_ref(), BATCH).await?;
            for (_, id) in &batch {
                match service.run_cascade(caller, id, PER_RUN).await {
                    Ok(ran) => next = next.into_iter().chain(ran.waits_until).min(),
                    // One whose key holder is down, or of which something cannot be read, does not keep the others
                    // waiting.
                    Err(error) => failed = Some(error),
                }
            }
            last = batch.into_iter().last();
            if last.is_none() {
                break;
            }
        }
        let mut set = WriteSet::new();
        cascade::remove_finished(&mut set, now - REMEMBERED);
        service.db.commit(set).await?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(next.map_or(NextRun::WhenWoken, NextRun::At)),
        }
    }
}
