//! Carries on with the revocation of many certificates.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError as _};
use lamassu_db::{Job, JobError, NextRun};
use time::OffsetDateTime;

use crate::service::CaService;
use crate::store::job;

/// The job that does one batch at a time, so that a process that shall stop need not wait for all.
#[derive(Debug)]
pub(crate) struct Revocations {
    service: Arc<CaService>,
}

impl Revocations {
    pub(crate) const NAME: &'static str = "ca-revocations";

    /// The job for this service.
    pub(crate) const fn new(service: Arc<CaService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for Revocations {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let Some(running) = job::running(&self.service.db).await? else {
            return Ok(NextRun::WhenWoken);
        };
        match self.service.advance_revocations(caller, &running).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.into()),
            // What no repetition mends must not hold up those behind it.
            Err(error) => self.service.give_up_revocations(&running, &error).await?,
        }
        Ok(NextRun::At(now))
    }
}
