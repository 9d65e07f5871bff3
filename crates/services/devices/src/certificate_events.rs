//! Certificate events: a slot follows the certificates of its versions.
//!
//! Certificates are looked up by serial number through an index. The active version follows its own
//! only while that says which device it belongs to, as the reference has it. Of the other versions the
//! state alone changes, and it does whatever the certificate says: one that was replaced has lost its
//! attachment, and may be good for long. Certificates of nobody and of unknown devices are ignored, so
//! that a certificate that is no device's never holds up the log. Each version knows the last event
//! of its certificate that was followed: repeating that one, or replaying one from before it that was
//! set aside, changes and tells nothing.

use std::collections::HashMap;

use async_trait::async_trait;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ca::certificate::{ATTACHED_TO, EXPIRATION_DELTAS};
use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceStatus;
use lamassu_core::device::slot::VersionState;
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Db, DbError, EventHandler, HandlerError, LoggedEvent, Subscription, WriteSet};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::change::Change;
use crate::context::ChangeContext;
use crate::lifecycle::status_of_certificate;
use crate::metrics;
use crate::service::DevicesService;
use crate::store::{Binding, StoredDevice, Version, bindings, version_followed};

/// The name of the subscription.
pub const CERTIFICATE_SUBSCRIPTION: &str = "device-manager-certificates";

const STATUS_UPDATE: &str = "certificate.status.update";
const METADATA_UPDATE: &str = "certificate.metadata.update";

/// Events handled in one write set: a revoked CA takes thousands of certificates with it.
const BATCH: u32 = 64;

/// The reader of the events that [`CertificateEvents`] handles.
pub(crate) fn subscription(db: &Db) -> Subscription {
    Subscription::new(
        db,
        CERTIFICATE_SUBSCRIPTION,
        &[STATUS_UPDATE, METADATA_UPDATE],
    )
    .batch(BATCH)
}

/// Reacts to certificate events.
#[derive(Debug)]
pub(crate) struct CertificateEvents {
    service: DevicesService,
}

/// The payload of both events, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Payload {
    updated: CertificateNews,
}

/// What an event says about a certificate.
#[derive(Debug, Deserialize)]
struct CertificateNews {
    serial_number: SerialNumber,
    #[serde(default)]
    authority_key_id: String,
    status: CertificateStatus,
    #[serde(default)]
    revocation_reason: RevocationReason,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// What a certificate event means for the slot that the certificate is active in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The slot takes the worst of this status and its windows, even where that is better than
    /// before: a hold was released.
    Becomes(DeviceStatus),
    /// The slot gets at least so bad.
    AtLeast(DeviceStatus),
}

impl CertificateNews {
    /// Whether it says that it belongs to a device.
    fn is_attached(&self) -> bool {
        self.metadata
            .as_ref()
            .is_some_and(|metadata| metadata.contains_key(ATTACHED_TO))
    }

    /// Whether the certificate is the one that the device is bound to: serial numbers are unique
    /// per issuer only. One that is nobody's must be known to come from the same.
    fn is_of(&self, binding: &Binding) -> bool {
        let (ours, theirs) = (&self.authority_key_id, &binding.authority_key_id);
        let is_unknown = ours.is_empty() || theirs.is_empty();
        self.serial_number == binding.serial_number
            && if is_unknown {
                self.is_attached()
            } else {
                ours == theirs
            }
    }

    fn effect(&self, event_type: &str) -> Option<Effect> {
        let announced = self.announced_window();
        let status = status_of_certificate(self.status);
        if event_type == METADATA_UPDATE {
            // What was revoked before it was attached tells of it here only.
            let bad = status.filter(|status| *status != DeviceStatus::Active);
            return announced.max(bad).map(Effect::AtLeast);
        }
        let status = status?;
        Some(Effect::Becomes(
            announced.map_or(status, |window| window.max(status)),
        ))
    }

    /// The worst window that the certificate's metadata say is entered.
    fn announced_window(&self) -> Option<DeviceStatus> {
        let deltas = self.metadata.as_ref()?.get(EXPIRATION_DELTAS)?.as_array()?;
        let triggered = deltas
            .iter()
            .filter(|delta| delta.get("triggered") == Some(&Value::Bool(true)));
        let named = triggered.filter_map(|delta| match delta.get("name")?.as_str()? {
            "Preventive" => Some(DeviceStatus::RenewalPending),
            "Critical" => Some(DeviceStatus::ExpiringSoon),
            _ => None,
        });
        named.max()
    }
}

impl Effect {
    /// The status that the slot gets; the one it has where nothing changes.
    fn apply(self, current: DeviceStatus, by_time: DeviceStatus) -> DeviceStatus {
        match self {
            Self::Becomes(status) => status.max(by_time),
            Self::AtLeast(status) => status.max(current),
        }
    }
}

impl CertificateEvents {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Where the certificates are, and the devices there. All of them can be read, or none is given: an event about
    /// one that cannot is set aside, and can be replayed.
    async fn devices(
        &self,
        serials: &[SerialNumber],
    ) -> Result<(Vec<Binding>, HashMap<DeviceId, StoredDevice>), HandlerError> {
        let bindings = bindings(&self.service.db, serials).await?;
        let ids: Vec<DeviceId> = bindings
            .iter()
            .map(|binding| binding.device_id.clone())
            .collect();
        let devices = self.service.store.devices(&ids).await?;
        let by_id = devices
            .into_iter()
            .map(|stored| stored.map(|stored| (stored.device.id.clone(), stored)));
        Ok((bindings, by_id.collect::<Result<_, DbError>>()?))
    }
}

#[async_trait]
impl EventHandler for CertificateEvents {
    async fn handle(
        &self,
        caller: &Caller,
        events: &[LoggedEvent],
    ) -> Result<WriteSet, HandlerError> {
        let news = events.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let places = events.iter().map(|event| event.seq);
        let news: Vec<_> = places
            .zip(news)
            .filter_map(|(seq, news)| news.map(|(news, effect)| (seq, news, effect)))
            .collect();
        let serials: Vec<SerialNumber> = news
            .iter()
            .map(|(_, news, _)| news.serial_number.clone())
            .collect();
        let (mut bindings, mut devices) = self.devices(&serials).await?;
        let caller = caller.from_source("eventbus-service/ca");
        let context = self.service.change_by(&caller);
        let mut set = WriteSet::new();
        for (seq, news, effect) in &news {
            for binding in bindings
                .iter_mut()
                .filter(|binding| news.is_of(binding) && binding.followed < *seq)
            {
                binding.followed = *seq;
                set.execute(version_followed(binding));
                if let Some(stored) = devices.get_mut(&binding.device_id)
                    && let Some((change, after)) = follow(stored, binding, news, *effect, context)
                {
                    set.append(change);
                    // Later events of the batch build on this one.
                    *stored = after;
                }
            }
        }
        Ok(set)
    }
}

/// What an event says, where it concerns a device at all.
fn read(event: &LoggedEvent) -> Result<Option<(CertificateNews, Effect)>, HandlerError> {
    let Payload { updated } = event.data::<Payload>()?;
    if event.event_type == METADATA_UPDATE && !updated.is_attached() {
        // Windows are those of the active version.
        return Ok(None);
    }
    let effect = updated.effect(&event.event_type);
    Ok(effect.map(|effect| (updated, effect)))
}

/// The change of the device, if there is one.
fn follow(
    stored: &StoredDevice,
    binding: &Binding,
    news: &CertificateNews,
    effect: Effect,
    context: ChangeContext<'_>,
) -> Option<(WriteSet, StoredDevice)> {
    if stored.device.status == DeviceStatus::Decommissioned {
        return None;
    }
    let slot = stored.slots.get(&binding.slot)?;
    // The slot may have been changed since the binding was read.
    let version = slot.versions.get(&binding.version)?;
    if version.serial_number.as_ref() != Some(&news.serial_number) {
        return None;
    }
    let is_active = slot.active_version == Some(binding.version);
    if is_active && !news.is_attached() {
        return None;
    }
    let mut change = Change::of(stored, context);
    let state = match (effect, news.status) {
        // Metadata never make it better.
        (Effect::AtLeast(_), CertificateStatus::Active) => version.state,
        _ => state_of(version, news, is_active),
    };
    if state != version.state || is_revoked_otherwise(version, news) {
        let version = change.version(&binding.slot, binding.version)?;
        follow_state(version, news, state, context);
    }
    if is_active {
        let current = slot.status.of_device();
        // A slot that a client of v1 wrote may say nothing of its end.
        let by_time = slot.windows.as_ref();
        let by_time = by_time.map_or(DeviceStatus::Active, |windows| {
            windows.status_at(context.now)
        });
        let status = effect.apply(current, by_time);
        if status != current {
            change.set_slot_status(&binding.slot, status);
            metrics::slot_status_changed(status);
        }
    }
    (!change.is_empty()).then(|| change.into_write_set("device.slot-status"))
}

/// The state that a version has by its certificate's status.
fn state_of(version: &Version, news: &CertificateNews, is_active: bool) -> VersionState {
    let usual = if is_active {
        VersionState::Active
    } else {
        VersionState::Superseded
    };
    match (news.status, version.state) {
        (CertificateStatus::Revoked, _) | (CertificateStatus::Expired, VersionState::Revoked) => {
            VersionState::Revoked
        }
        (CertificateStatus::Expired, _) => VersionState::Expired,
        // A hold was released. Another version may have become the active one meanwhile.
        (CertificateStatus::Active, VersionState::Revoked | VersionState::Expired) => version
            .before_hold
            .filter(|before| *before != VersionState::Active)
            .unwrap_or(usual),
        (CertificateStatus::Active | CertificateStatus::Inactive, state) => state,
    }
}

/// Whether the certificate is revoked for another reason than the version knows, as when a hold becomes final. News
/// of a hold are older than a revocation for good.
fn is_revoked_otherwise(version: &Version, news: &CertificateNews) -> bool {
    news.status == CertificateStatus::Revoked
        && version.state == VersionState::Revoked
        && news.revocation_reason != RevocationReason::CertificateHold
        && version.revocation_reason != Some(news.revocation_reason)
}

fn follow_state(
    version: &mut Version,
    news: &CertificateNews,
    state: VersionState,
    context: ChangeContext<'_>,
) {
    let before = std::mem::replace(&mut version.state, state);
    let is_revoked = state == VersionState::Revoked;
    let is_held = is_revoked && news.revocation_reason == RevocationReason::CertificateHold;
    version.before_hold = is_held.then_some(before);
    version.revoked_at = is_revoked.then_some(Timestamp(context.now));
    version.revocation_reason = is_revoked.then_some(news.revocation_reason);
}
