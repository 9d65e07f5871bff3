//! Events as they are appended to the log and read from it.
//!
//! The stored form is the CloudEvents 1.0 JSON (structured mode) that goes to every consumer, so
//! that a relay copies it as it is. The CloudEvents `id` is unique per event here, but nobody may
//! rely on that: the place in the log ([`Seq`]) is the key.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::caller::Caller;
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::error::DbError;
use crate::instant::truncated;
use crate::row::Row;
use crate::write_set::Seq;

/// What precedes the source string in the CloudEvents attribute `source`.
const SOURCE_PREFIX: &str = "source://lamassu.io/ctx/source/";

/// The payload of an event.
#[derive(Clone, Debug)]
enum Data {
    /// No `data` member.
    None,
    /// Member `data`.
    Json(Box<RawValue>),
    /// Member `data_base64`.
    Bytes(Vec<u8>),
}

/// An event that a write set appends.
#[derive(Clone, Debug)]
pub struct Event {
    id: String,
    pub(crate) event_type: Cow<'static, str>,
    pub(crate) source: String,
    pub(crate) subject: Option<String>,
    pub(crate) time: OffsetDateTime,
    data: Data,
    auth_type: Option<&'static str>,
    auth_id: Option<String>,
    auth_also: Option<Arc<str>>,
    trace: Option<(String, String)>,
}

impl Event {
    /// An event caused by `caller`.
    ///
    /// `event_type` is for example `ca.create`; `service` is the publisher's source string, for
    /// example `service/ca`, used unless the caller acts on behalf of another source.
    pub fn new(
        event_type: impl Into<Cow<'static, str>>,
        service: &'static str,
        caller: &Caller,
        now: OffsetDateTime,
    ) -> Self {
        let source = caller.source.as_deref().unwrap_or(service);
        Self {
            id: Uuid::new_v4().to_string(),
            event_type: event_type.into(),
            source: format!("{SOURCE_PREFIX}{source}"),
            subject: None,
            time: truncated(now),
            data: Data::None,
            auth_type: caller.principal.auth_type(),
            auth_id: caller.principal.auth_id().map(str::to_owned),
            auth_also: caller.also.clone(),
            trace: Some((caller.trace.trace_id_hex(), caller.trace.span_id_hex())),
        }
    }

    /// For example `ca.create`.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The subject, if it has one.
    pub fn subject_text(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// When it happened.
    pub fn time(&self) -> OffsetDateTime {
        self.time
    }

    /// With a subject, for example `ca/7a1d6c1e`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With a JSON payload (member `data`).
    ///
    /// A payload that does not serialise leaves the event without one, as consumers know it; that
    /// is a defect and is logged.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, payload: &T) -> Self {
        match serde_json::value::to_raw_value(payload) {
            Ok(json) => self.data = Data::Json(json),
            Err(error) => {
                tracing::error!(event_type = %self.event_type, %error, "event payload lost");
            }
        }
        self
    }

    /// With a binary payload (member `data_base64`).
    #[must_use]
    pub fn bytes(mut self, payload: Vec<u8>) -> Self {
        self.data = Data::Bytes(payload);
        self
    }

    /// The event as structured-mode JSON.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Serialize for Event {
    /// Attributes, payload, then extensions by name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = self
            .time
            .format(&Rfc3339)
            .map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.event_type)?;
        if let Some(subject) = &self.subject {
            map.serialize_entry("subject", subject)?;
        }
        map.serialize_entry("datacontenttype", "application/json")?;
        map.serialize_entry("time", &time)?;
        match &self.data {
            Data::None => {}
            Data::Json(json) => map.serialize_entry("data", json)?,
            Data::Bytes(bytes) => map.serialize_entry("data_base64", &STANDARD.encode(bytes))?,
        }
        if let Some(also) = &self.auth_also {
            map.serialize_entry("authalso", also)?;
        }
        if let Some(auth_id) = &self.auth_id {
            map.serialize_entry("authid", auth_id)?;
        }
        if let Some(auth_type) = self.auth_type {
            map.serialize_entry("authtype", auth_type)?;
        }
        if let Some((trace_id, span_id)) = &self.trace {
            map.serialize_entry("spanid", span_id)?;
            map.serialize_entry("traceid", trace_id)?;
        }
        map.end()
    }
}

/// An event read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its place in the log.
    pub seq: Seq,
    /// For example `ca.create`.
    pub event_type: String,
    /// For example `ca/7a1d6c1e`.
    pub subject: Option<String>,
    /// The whole CloudEvents JSON.
    pub body: String,
}

/// The columns of `event_log` that [`LoggedEvent::try_from`] reads.
pub(crate) const EVENT_COLUMNS: &str = "seq, event_type, subject, body";

impl LoggedEvent {
    /// The payload as a Rust type.
    ///
    /// # Errors
    ///
    /// When the event has no `data` member or it has another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        serde_json::from_str::<Envelope<T>>(&self.body).map(|envelope| envelope.data)
    }
}

impl TryFrom<Row> for LoggedEvent {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            seq: Seq(row.get("seq")?),
            event_type: row.get("event_type")?,
            subject: row.get("subject")?,
            body: row.get("body")?,
        })
    }
}
