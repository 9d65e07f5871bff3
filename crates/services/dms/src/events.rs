//! What is told, and what is heard.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::dms::{Approval, Dms};
use lamassu_core::ids::DmsId;
use lamassu_db::{
    Db, Event, EventHandler, HandlerError, LoggedEvent, StartAt, Subscription, WriteSet,
};
use serde::Serialize;
use time::OffsetDateTime;

use crate::directory::Directory;

/// The source of everything that the DMS manager does, here and at other services.
pub(crate) const SOURCE: &str = "service/ra";

/// What changes a CA or profile that is known already. New ones are never kept as absent.
const HEARD: &[&str] = &[
    "ca.status.update",
    "ca.profile.update",
    "ca.metadata.update",
    "ca.reissue",
    "ca.delete",
    "profile.issuance.update",
    "profile.issuance.delete",
];

#[derive(Serialize)]
struct Change<'a, T> {
    previous: &'a T,
    updated: &'a T,
}

/// `dms.create`
pub(crate) fn created(caller: &Caller, dms: &Dms, now: OffsetDateTime) -> Event {
    Event::new("dms.create", SOURCE, caller, now)
        .subject(subject(dms))
        .data(dms)
}

/// `dms.update`
pub(crate) fn updated(
    caller: &Caller,
    previous: &Dms,
    updated: &Dms,
    now: OffsetDateTime,
) -> Event {
    Event::new("dms.update", SOURCE, caller, now)
        .subject(subject(updated))
        .data(&Change { previous, updated })
}

/// `dms.metadata.update`
pub(crate) fn metadata_updated(
    caller: &Caller,
    previous: &Dms,
    updated: &Dms,
    now: OffsetDateTime,
) -> Event {
    Event::new("dms.metadata.update", SOURCE, caller, now)
        .subject(subject(updated))
        .data(&Change { previous, updated })
}

/// What is told of a DMS that is gone.
#[derive(Serialize)]
struct Gone<'a> {
    #[serde(rename = "ID")]
    id: &'a DmsId,
}

/// `dms.delete`
pub(crate) fn deleted(caller: &Caller, dms: &Dms, now: OffsetDateTime) -> Event {
    Event::new("dms.delete", SOURCE, caller, now)
        .subject(subject(dms))
        .data(&Gone { id: &dms.id })
}

/// How events and audit records address a DMS.
pub(crate) fn subject(dms: &Dms) -> String {
    format!("dms/{}", dms.id)
}

/// `dms.approval.create`
pub(crate) fn approval_created(caller: &Caller, approval: &Approval, now: OffsetDateTime) -> Event {
    Event::new("dms.approval.create", SOURCE, caller, now)
        .subject(approval_subject(approval))
        .data(approval)
}

/// `dms.approval.update`
pub(crate) fn approval_updated(
    caller: &Caller,
    previous: &Approval,
    updated: &Approval,
    now: OffsetDateTime,
) -> Event {
    Event::new("dms.approval.update", SOURCE, caller, now)
        .subject(approval_subject(updated))
        .data(&Change { previous, updated })
}

/// How events and audit records address an approval.
pub(crate) fn approval_subject(approval: &Approval) -> String {
    format!("approval/{}", approval.id)
}

/// The reader of the events that [`ForgetOnChange`] handles.
pub(crate) fn subscription(db: &Db) -> Subscription {
    Subscription::new(db, "dms-directory", HEARD)
        .starting_at(StartAt::Head)
        .batch(256)
}

/// Drops what the directory keeps when a CA or profile changes.
#[derive(Debug)]
pub(crate) struct ForgetOnChange(pub(crate) Arc<Directory>);

#[async_trait]
impl EventHandler for ForgetOnChange {
    async fn handle(&self, _: &Caller, _: &[LoggedEvent]) -> Result<WriteSet, HandlerError> {
        self.0.forget();
        Ok(WriteSet::new())
    }
}
