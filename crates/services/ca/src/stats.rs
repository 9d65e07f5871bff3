//! Counting CAs and certificates: one grouped query per distribution, no row is read;
//! certificates without filters are counted already, by triggers.

use std::collections::BTreeMap;

use lamassu_core::ca::{
    AuthorityCounts, CaError, CaStats, CertificateCounts, CertificateStatus, StatusCounts,
};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_core::query::Filter;
use lamassu_db::Value;
use lamassu_db::list::{ListError, ListTable, Restriction, count_by};

use crate::query::issued_by;
use crate::service::CaService;
use crate::store::{authority, certificate};

/// How many rows there are, and of which status.
struct Counted {
    total: i64,
    per_status: StatusCounts,
}

impl Counted {
    fn of(counts: impl IntoIterator<Item = (String, i64)>) -> Self {
        let mut all = Self {
            total: 0,
            per_status: StatusCounts::default(),
        };
        for (status, n) in counts {
            all.total = all.total.saturating_add(n);
            match status.parse() {
                Ok(CertificateStatus::Active) => all.per_status.active = n,
                Ok(CertificateStatus::Expired) => all.per_status.expired = n,
                Ok(CertificateStatus::Revoked) => all.per_status.revoked = n,
                Ok(CertificateStatus::Inactive) | Err(_) => {}
            }
        }
        all
    }
}

impl CaService {
    /// Counts everything.
    pub(crate) async fn count(
        &self,
        caller: &Caller,
        cas: &[Filter],
        certificates: &[Filter],
    ) -> Result<CaStats, CaError> {
        let by_engine = self.count_by_engine(caller, cas).await?;
        let cas = self.count_by_status(&authority::TABLE, cas, &[]).await?;
        let certificates = self.count_certificates(None, certificates).await?;
        Ok(CaStats {
            cas: AuthorityCounts {
                total: cas.total,
                engine_distribution: by_engine,
                status_distribution: cas.per_status,
            },
            certificates: CertificateCounts {
                total: certificates.total,
                ca_distribution: BTreeMap::new(),
                status_distribution: certificates.per_status,
            },
        })
    }

    /// Counts the certificates of one CA.
    pub(crate) async fn count_of_ca(
        &self,
        id: &CaId,
        certificates: &[Filter],
    ) -> Result<StatusCounts, CaError> {
        let counted = self.count_certificates(Some(id), certificates).await?;
        Ok(counted.per_status)
    }

    /// Without filters nothing is counted: triggers did.
    async fn count_certificates(
        &self,
        ca: Option<&CaId>,
        filters: &[Filter],
    ) -> Result<Counted, CaError> {
        if filters.is_empty() {
            let counted = certificate::count_by_status(&self.db, ca)
                .await
                .map_err(StorageFailure::from)?;
            return Ok(Counted::of(counted));
        }
        let issued: Vec<Restriction> = ca.map(issued_by).into_iter().collect();
        self.count_by_status(&certificate::TABLE, filters, &issued)
            .await
    }

    /// Every engine of the KMS is there, with or without CAs.
    async fn count_by_engine(
        &self,
        caller: &Caller,
        filters: &[Filter],
    ) -> Result<BTreeMap<String, i64>, CaError> {
        refuse_status(filters)?;
        let engines = self
            .kms
            .engines(caller)
            .await
            .map_err(CaError::KmsRefused)?;
        let mut counts: BTreeMap<String, i64> = engines
            .into_iter()
            .map(|engine| (engine.id.as_str().to_owned(), 0))
            .collect();
        let counted = count_by(&self.db, &authority::TABLE, "engine_id", filters, &[])
            .await
            .map_err(ListError::into_error::<CaError>)?;
        for (value, n) in counted {
            if let Value::Text(engine) = value
                && let Some(count) = counts.get_mut(&engine)
            {
                *count = n;
            }
        }
        Ok(counts)
    }

    async fn count_by_status(
        &self,
        table: &ListTable,
        filters: &[Filter],
        restrictions: &[Restriction],
    ) -> Result<Counted, CaError> {
        refuse_status(filters)?;
        let counted = count_by(&self.db, table, "status", filters, restrictions)
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let named = counted.into_iter().filter_map(|(value, n)| match value {
            Value::Text(status) => Some((status, n)),
            _ => None,
        });
        Ok(Counted::of(named))
    }
}

/// The status is what is counted by.
fn refuse_status(filters: &[Filter]) -> Result<(), CaError> {
    if filters.iter().any(|filter| filter.field.name == "status") {
        return Err(CaError::Validation);
    }
    Ok(())
}
