//! Enrollments that do not get past their first commit: refused, or torn apart by a crash.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::caller::Caller;
use lamassu_core::device::slot::{IDENTITY, SlotId};
use lamassu_core::device::{
    BindIdentity, CreateDevice, Device as Registered, DeviceError, DeviceService, DeviceStats,
    EnrollingDevice, IdentityReplacement, SlotService as _,
};
use lamassu_core::dms::{DmsService, SweepScope};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::query::ListRequest;
use lamassu_core::revision::Precondition;
use lamassu_core::usage::RevocationReason;
use lamassu_db::{WriteSet, params, sql};
use lamassu_dms::EstConfig;
use serde_json::{Value, json};
use time::Duration;

use crate::device::Device;
use crate::support::{World, caller, dms};

/// A device manager whose bindings end in a way of our own.
#[derive(Debug)]
struct Torn {
    inner: Arc<dyn DeviceService>,
    end: End,
}

/// A device that is never answered about.
const UNREADABLE: &str = "unreadable";

#[derive(Clone, Copy, Debug)]
enum End {
    /// The binding is refused, because somebody else was faster.
    Refused,
    /// The process dies before the device manager commits: its answer never comes.
    LostBefore,
    /// The process dies after the device manager has committed.
    LostAfter,
}

#[async_trait]
impl DeviceService for Torn {
    async fn create_device(
        &self,
        caller: &Caller,
        request: CreateDevice,
    ) -> Result<Registered, DeviceError> {
        self.inner.create_device(caller, request).await
    }

    async fn device(&self, caller: &Caller, id: &DeviceId) -> Result<Registered, DeviceError> {
        if id.as_str() == UNREADABLE {
            let down = StorageFailure::Unavailable(Box::new(std::fmt::Error));
            return Err(down.into());
        }
        self.inner.device(caller, id).await
    }

    async fn devices(
        &self,
        caller: &Caller,
        owner: Option<&DmsId>,
        request: &ListRequest,
    ) -> Result<Page<Registered>, DeviceError> {
        self.inner.devices(caller, owner, request).await
    }

    async fn stats(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<DeviceStats, DeviceError> {
        self.inner.stats(caller, request).await
    }

    async fn patch_metadata(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patches: Vec<PatchOperation>,
    ) -> Result<Registered, DeviceError> {
        self.inner.patch_metadata(caller, id, patches).await
    }

    async fn replace_identity(
        &self,
        caller: &Caller,
        id: &DeviceId,
        slot: IdentityReplacement,
    ) -> Result<Registered, DeviceError> {
        self.inner.replace_identity(caller, id, slot).await
    }

    async fn decommission(
        &self,
        caller: &Caller,
        id: &DeviceId,
    ) -> Result<Registered, DeviceError> {
        self.inner.decommission(caller, id).await
    }

    async fn delete_device(&self, caller: &Caller, id: &DeviceId) -> Result<(), DeviceError> {
        self.inner.delete_device(caller, id).await
    }

    async fn enrolling_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> Result<EnrollingDevice, DeviceError> {
        self.inner.enrolling_device(caller, id, create).await
    }

    async fn bind_identity(
        &self,
        caller: &Caller,
        request: BindIdentity,
    ) -> Result<Registered, DeviceError> {
        let unknown = || StorageFailure::OutcomeUnknown(Box::new(std::fmt::Error)).into();
        match self.end {
            End::Refused => Err(DeviceError::SlotChanged),
            End::LostBefore => Err(unknown()),
            End::LostAfter => {
                self.inner.bind_identity(caller, request).await?;
                Err(unknown())
            }
        }
    }
}

async fn torn_enrollment(end: End) -> World {
    let world = World::with(EstConfig::default(), |inner| Arc::new(Torn { inner, end })).await;
    world.root("fleet").await;
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    world.created(dms("dms", &nothing, &nothing)).await;
    let answer = world
        .est("simpleenroll", "dms", &Device::new("d").csr(), None)
        .await;
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "2");
    world
}

async fn status_of_the_only_certificate(world: &World) -> (CertificateStatus, RevocationReason) {
    let all = world.issued_for("d").await;
    assert_eq!(all.len(), 1);
    all.first()
        .map(|only| (only.status, only.revocation_reason))
        .unwrap()
}

async fn sweep(world: &World, scope: SweepScope) -> u32 {
    world
        .manager
        .sweep_enrollments(&caller(), scope)
        .await
        .unwrap()
}

const TAKEN_BACK: (CertificateStatus, RevocationReason) = (
    CertificateStatus::Revoked,
    RevocationReason::CessationOfOperation,
);

#[tokio::test]
async fn a_refused_binding_takes_the_certificate_back_at_once() {
    let world = torn_enrollment(End::Refused).await;
    assert_eq!(status_of_the_only_certificate(&world).await, TAKEN_BACK);
    world.clock.advance(Duration::hours(1));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 0);
}

#[tokio::test]
async fn the_sweep_takes_back_what_no_device_holds() {
    let world = torn_enrollment(End::LostBefore).await;
    assert_eq!(
        status_of_the_only_certificate(&world).await.0,
        CertificateStatus::Active
    );
    // Young enough to be on its way; and opened by this very process.
    assert_eq!(sweep(&world, SweepScope::Stale).await, 0);
    assert_eq!(sweep(&world, SweepScope::All).await, 0);
    world.clock.advance(Duration::seconds(91));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 1);
    assert_eq!(status_of_the_only_certificate(&world).await, TAKEN_BACK);
    assert_eq!(sweep(&world, SweepScope::Stale).await, 0);
}

#[tokio::test]
async fn what_cannot_be_settled_keeps_nothing_else_from_being() {
    let world = torn_enrollment(End::LostBefore).await;
    // Two pages of older ones.
    let mut set = WriteSet::new();
    for n in 0..400 {
        set.execute(sql(
            "INSERT INTO enrollment_intent (serial_number, certificate_id, device_id, dms_id, mode, \
             csr_digest, detach, revoke, opened_at, state) \
             SELECT $1, certificate_id, $2, dms_id, mode, csr_digest, detach, revoke, opened_at - 1, \
             state FROM enrollment_intent WHERE device_id = 'd'",
            params![format!("aa{n:04x}"), UNREADABLE],
        ));
    }
    world.db.commit(set).await.unwrap();
    world.clock.advance(Duration::seconds(91));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 1);
    assert_eq!(status_of_the_only_certificate(&world).await, TAKEN_BACK);
}

#[tokio::test]
async fn intents_that_cannot_be_read_keep_no_other_from_being_settled() {
    let world = torn_enrollment(End::LostBefore).await;
    // More than a page of older ones.
    let mut set = WriteSet::new();
    for n in 0..250 {
        set.execute(sql(
            "INSERT INTO enrollment_intent (serial_number, certificate_id, device_id, dms_id, mode, \
             csr_digest, detach, revoke, opened_at, state) \
             SELECT $1, certificate_id, device_id, dms_id, mode, csr_digest, detach, revoke, \
             opened_at - 1, state FROM enrollment_intent WHERE state = 'open' \
             ORDER BY opened_at DESC LIMIT 1",
            params![format!("none {n:04}")],
        ));
    }
    world.db.commit(set).await.unwrap();
    world.clock.advance(Duration::seconds(91));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 1);
    assert_eq!(status_of_the_only_certificate(&world).await, TAKEN_BACK);
}

#[tokio::test]
async fn the_sweep_completes_what_a_device_holds() {
    let world = torn_enrollment(End::LostAfter).await;
    world.clock.advance(Duration::seconds(91));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 1);
    assert_eq!(
        status_of_the_only_certificate(&world).await.0,
        CertificateStatus::Active
    );
    assert_eq!(
        world.registered("d").await.identity.unwrap().active_version,
        0
    );
    assert_eq!(sweep(&world, SweepScope::Stale).await, 0);
}

/// What becomes of the certificates of a device whose slot has this policy, when all its renewals are torn after the
/// binding. The slot keeps no version that is out of use, so that the sweep finds none of the first renewal.
async fn after_two_torn_renewals(policy: Value) -> Vec<CertificateStatus> {
    let world = torn_enrollment(End::LostAfter).await;
    let first = world.issued_for("d").await.remove(0).serial_number;
    // As the event of the binding does.
    let completed = world.ca.complete_enrollment(&caller(), &first).await;
    completed.unwrap();
    let devices = world.devices_of_any_owners().await;
    let identity = SlotId {
        device: "d".into(),
        name: IDENTITY.to_owned(),
    };
    let put = json!({"secret_type": "x509", "policy": policy});
    let put = serde_json::from_value(put).unwrap();
    devices
        .put_slot(&caller(), &identity, put, Precondition::None)
        .await
        .unwrap();
    for _ in 0..2 {
        world.clock.advance(Duration::days(2));
        let csr = Device::new("d").csr();
        let answer = world.est("simplereenroll", "dms", &csr, None).await;
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.text());
    }
    world.clock.advance(Duration::seconds(91));
    assert_eq!(sweep(&world, SweepScope::Stale).await, 2);
    let job = devices.certificates_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let issued = world.issued_for("d").await;
    issued.iter().map(|issued| issued.status).collect()
}

#[tokio::test]
async fn what_two_torn_renewals_superseded_is_revoked() {
    let statuses = after_two_torn_renewals(json!({"max_versions": 1})).await;
    let (revoked, active) = (CertificateStatus::Revoked, CertificateStatus::Active);
    assert_eq!(statuses, [revoked, revoked, active]);
}

#[tokio::test]
async fn what_was_bound_and_is_gone_from_the_slot_is_not_taken_back() {
    let policy = json!({"max_versions": 1, "overlap": "0s", "revoke_superseded": false});
    let statuses = after_two_torn_renewals(policy).await;
    assert_eq!(statuses, [CertificateStatus::Active; 3]);
}
