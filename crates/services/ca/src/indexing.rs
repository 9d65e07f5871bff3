//! Indexing certificates that were stored before there was the index.

use lamassu_db::{CommitError, WriteSet};

use crate::service::CaService;
use crate::store::certificate::{index, unindexed};

/// Certificates of one write set.
const BATCH: u32 = 500;

impl CaService {
    /// Indexes what is not indexed, batch by batch. Usually that is nothing, and one look at an
    /// empty index.
    pub(crate) async fn index_certificates(&self) -> Result<(), CommitError> {
        let mut indexed = 0;
        loop {
            let batch = unindexed(&self.db, BATCH).await?;
            if batch.is_empty() {
                break;
            }
            let mut set = WriteSet::new();
            for (id, der) in &batch {
                index(&mut set, id, der);
            }
            indexed += batch.len();
            self.db.commit(set).await?;
        }
        if indexed > 0 {
            tracing::info!(indexed, "certificates indexed");
        }
        Ok(())
    }
}
