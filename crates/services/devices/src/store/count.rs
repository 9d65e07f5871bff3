//! Table `device_count`: how many devices have each status.

use std::collections::BTreeMap;

use lamassu_core::device::DeviceStatus;
use lamassu_db::{Db, DbError, Row, Statement, params, sql};
use uuid::Uuid;

/// How many buckets there are: replicas seldom share one, and summing them stays cheap.
const BUCKETS: u8 = 64;

/// Where a process keeps its share of the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountBucket(i32);

impl CountBucket {
    /// Any bucket.
    pub(crate) fn any() -> Self {
        let [random, ..] = *Uuid::new_v4().as_bytes();
        Self(i32::from(random % BUCKETS))
    }

    /// There is one device more, of this status.
    pub(crate) fn add(self, status: DeviceStatus) -> Statement {
        sql(
            "INSERT INTO device_count (status, bucket, devices) VALUES ($1, $2, 1) \
             ON CONFLICT (status, bucket) DO UPDATE \
             SET devices = device_count.devices + excluded.devices",
            params![status.name(), self.0],
        )
    }

    /// There is one device less, of this status.
    pub(crate) fn remove(self, status: DeviceStatus) -> Statement {
        sql(
            "INSERT INTO device_count (status, bucket, devices) VALUES ($1, $2, -1) \
             ON CONFLICT (status, bucket) DO UPDATE \
             SET devices = device_count.devices + excluded.devices",
            params![status.name(), self.0],
        )
    }

    /// A device changed from one status to another one.
    pub(crate) fn moved(self, from: DeviceStatus, to: DeviceStatus) -> Statement {
        sql(
            "INSERT INTO device_count (status, bucket, devices) VALUES ($1, $2, -1), ($3, $2, 1) \
             ON CONFLICT (status, bucket) DO UPDATE \
             SET devices = device_count.devices + excluded.devices",
            params![from.name(), self.0, to.name()],
        )
    }
}

/// The number of all devices by status.
pub(crate) async fn counted(db: &Db) -> Result<BTreeMap<DeviceStatus, u64>, DbError> {
    by_status(&db.rows(counters()).await?)
}

/// Asks for the counters.
pub(crate) fn counters() -> Statement {
    sql(
        "SELECT status, CAST(SUM(devices) AS BIGINT) AS n FROM device_count GROUP BY status",
        Vec::new(),
    )
}

/// What rows of `status` and `n` say; statuses without devices may be absent.
pub(crate) fn by_status(rows: &[Row]) -> Result<BTreeMap<DeviceStatus, u64>, DbError> {
    rows.iter()
        .map(|row| {
            let status = super::device::status(&row.get::<String>("status")?, "device.status")?;
            Ok((status, row.get("n")?))
        })
        .collect()
}
