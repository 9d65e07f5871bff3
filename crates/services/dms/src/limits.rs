//! Which devices a DMS takes, how many, and how fast.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceService;
use lamassu_core::dms::{DeviceRefusal, Dms, DmsError};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::pattern::Pattern;
use lamassu_core::query::{Field, Filter, ListRequest, Operand};
use moka::sync::Cache;

/// How long a number of devices is believed before it is counted again. Devices that this process
/// registers meanwhile are added.
const LIFE_OF_COUNT: Duration = Duration::from_secs(10);
/// Most DMSs and most patterns that are kept.
const MAX_ENTRIES: u64 = 1_000;
/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 5;

/// What the device manager calls the DMS of a device.
const OWNER: Field = Field::string("dms_owner", "dms_owner");

/// The limits of DMSs, as far as they need a memory.
#[derive(Debug)]
pub(crate) struct Limits {
    counts: Cache<DmsId, Arc<AtomicU64>>,
    patterns: Cache<String, Pattern>,
    rate: Option<DefaultKeyedRateLimiter<DmsId>>,
}

impl Limits {
    /// `rate` is how many requests one DMS takes per second, 0 for any number.
    pub(crate) fn new(rate: u32) -> Self {
        let quota = NonZeroU32::new(rate)
            .map(|rate| Quota::per_second(rate).allow_burst(rate.saturating_mul(burst_seconds())));
        Self {
            counts: Cache::builder()
                .max_capacity(MAX_ENTRIES)
                .time_to_live(LIFE_OF_COUNT)
                .build(),
            patterns: Cache::new(MAX_ENTRIES),
            rate: quota.map(RateLimiter::keyed),
        }
    }

    /// Refuses what comes too fast. Only what has shown a credential is counted, since strangers must not
    /// use up what a DMS has for its devices; the limit of their address is theirs.
    pub(crate) fn check_rate(&self, dms: &Dms) -> Result<(), DmsError> {
        let is_fine = self
            .rate
            .as_ref()
            .is_none_or(|rate| rate.check_key(&dms.id).is_ok());
        if is_fine {
            Ok(())
        } else {
            Err(DeviceRefusal::RateLimited.into())
        }
    }

    /// Refuses a device that the DMS may not enroll, whatever it presents.
    pub(crate) fn check_allowed(&self, dms: &Dms, id: &DeviceId) -> Result<(), DmsError> {
        let settings = &dms.settings.enrollment_settings;
        let is_listed = settings
            .allowed_device_ids
            .value()
            .is_none_or(|allowed| allowed.contains(id));
        let matches = match settings.device_id_pattern.value() {
            None => true,
            Some(text) => self.pattern(text)?.matches(id.as_str()),
        };
        if is_listed && matches {
            Ok(())
        } else {
            Err(DeviceRefusal::NotAllowed.into())
        }
    }

    fn pattern(&self, text: &str) -> Result<Pattern, DmsError> {
        if let Some(known) = self.patterns.get(text) {
            return Ok(known);
        }
        let pattern = Pattern::parse(text)
            .map_err(|error| DmsError::Settings(format!("device_id_pattern: {error}")))?;
        self.patterns.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }

    /// A place for one device more, where the DMS limits them.
    pub(crate) async fn place(
        &self,
        caller: &Caller,
        dms: &Dms,
        devices: &dyn DeviceService,
    ) -> Result<Option<Place>, DmsError> {
        let Some(max) = dms.settings.enrollment_settings.max_devices.value() else {
            return Ok(None);
        };
        let count = match self.counts.get(&dms.id) {
            Some(count) => count,
            None => {
                let count = Arc::new(AtomicU64::new(counted(caller, &dms.id, devices).await?));
                // Who counted first is who everybody adds to.
                self.counts
                    .entry(dms.id.clone())
                    .or_insert(count)
                    .into_value()
            }
        };
        let before = count.fetch_add(1, Ordering::AcqRel);
        let place = Place {
            count,
            is_kept: false,
        };
        if before < u64::from(*max) {
            Ok(Some(place))
        } else {
            Err(DeviceRefusal::TooMany.into())
        }
    }
}

const fn burst_seconds() -> NonZeroU32 {
    match NonZeroU32::new(BURST_SECONDS) {
        Some(seconds) => seconds,
        None => NonZeroU32::MIN,
    }
}

async fn counted(
    caller: &Caller,
    id: &DmsId,
    devices: &dyn DeviceService,
) -> Result<u64, DmsError> {
    static FIELD: Field = OWNER;
    let request = ListRequest {
        filters: vec![Filter::new(&FIELD, Operand::StringEqual, id.as_str())?],
        ..ListRequest::default()
    };
    Ok(devices.stats(caller, &request).await?.total)
}

/// A device more under a DMS; it is free again unless it is kept.
#[derive(Debug)]
pub(crate) struct Place {
    count: Arc<AtomicU64>,
    is_kept: bool,
}

impl Place {
    /// The device is registered.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
