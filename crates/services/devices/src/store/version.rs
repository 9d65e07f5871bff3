//! Table `slot_version`: every secret that slots hold or held.

use std::str::FromStr;

use lamassu_core::ca::{CertificateRef, UNKNOWN_ISSUER};
use lamassu_core::device::slot::{SlotVersion, VersionState};
use lamassu_core::ids::{CaId, DeviceId, SerialNumber};
use lamassu_core::query::Field;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::list::ListTable;
use lamassu_db::{Db, DbError, Row, Seq, Statement, Value, in_list, params, sql, sql_of_few};
use serde_json::Value as JsonValue;
use time::OffsetDateTime;

use super::slot::shown;

/// A version of a slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    /// Its number in the slot, from 0.
    pub(crate) version: u32,
    pub(crate) state: VersionState,
    /// Of a certificate.
    pub(crate) serial_number: Option<SerialNumber>,
    /// Hex of the issuer's key identifier, `""` when unknown.
    pub(crate) authority_key_id: String,
    /// The CA that issued it, where that is known.
    pub(crate) ca: Option<CaId>,
    /// What may be shown of it.
    pub(crate) secret: JsonValue,
    pub(crate) fingerprint: Option<String>,
    /// Which public key it has.
    pub(crate) public_key_id: Option<String>,
    pub(crate) bind_mode: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) activated_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) superseded_at: Option<Timestamp>,
    pub(crate) overlap_until: Option<Timestamp>,
    /// Whether it is revoked when the overlap is over.
    pub(crate) revoke_after: bool,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) revocation_reason: Option<RevocationReason>,
    /// What it was before it was put on hold.
    pub(crate) before_hold: Option<VersionState>,
}

impl Version {
    /// A version that is not used yet.
    pub(crate) fn pending(version: u32, secret: JsonValue, now: OffsetDateTime) -> Self {
        Self {
            version,
            state: VersionState::Pending,
            serial_number: None,
            authority_key_id: String::new(),
            ca: None,
            secret,
            fingerprint: None,
            public_key_id: None,
            bind_mode: None,
            created_at: Timestamp(now),
            activated_at: None,
            expires_at: None,
            superseded_at: None,
            overlap_until: None,
            revoke_after: false,
            revoked_at: None,
            revocation_reason: None,
            before_hold: None,
        }
    }

    /// When time alone changes its state next; the active version's end is its slot's.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        match self.state {
            VersionState::Superseded => {
                let due = [self.overlap_until, self.expires_at];
                due.into_iter().flatten().min()
            }
            VersionState::Pending | VersionState::Retired => self.expires_at,
            VersionState::Active | VersionState::Expired | VersionState::Revoked => None,
        }
    }

    /// Its certificate, if it is one; by its fingerprint, too, where its issuer is not known.
    pub(crate) fn certificate(&self) -> Option<CertificateRef> {
        let ca = self.ca.clone();
        let is_known = |ca: &CaId| ca.as_str() != UNKNOWN_ISSUER;
        let fingerprint = match ca.as_ref().is_some_and(is_known) {
            true => None,
            false => self.fingerprint.clone(),
        };
        Some(CertificateRef {
            serial_number: self.serial_number.clone()?,
            ca,
            fingerprint,
        })
    }

    /// Whether both are one certificate. The issuer's key is not known of each.
    pub(crate) fn is_same_certificate(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.authority_key_id, &other.authority_key_id);
        self.serial_number.is_some()
            && self.serial_number == other.serial_number
            && (ours == theirs || ours.is_empty() || theirs.is_empty())
    }

    /// Whether its revocation may be released.
    pub(crate) fn is_on_hold(&self) -> bool {
        self.state == VersionState::Revoked
            && self.revocation_reason == Some(RevocationReason::CertificateHold)
    }

    /// Whether the end of its overlap is to revoke it.
    pub(crate) fn is_due_for_revocation(&self) -> bool {
        self.revoke_after && self.overlap_until.is_some() && !self.is_over()
    }

    /// Whether nothing more becomes of it, not even by a release.
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_final() && !self.is_on_hold()
    }

    /// Whether it is a certificate that is valid or may be so again.
    pub(crate) fn is_valid_certificate(&self) -> bool {
        self.serial_number.is_some() && !self.is_over()
    }
}

/// Writes a version of a device's slot.
pub(crate) fn version_put(device: &DeviceId, slot: &str, version: &Version) -> Statement {
    sql(
        "INSERT INTO slot_version (device_id, slot, version, state, serial_number, \
         authority_key_id, secret, fingerprint, public_key_id, bind_mode, created_at, \
         activated_at, expires_at, superseded_at, overlap_until, revoke_after, revoked_at, \
         revocation_reason, before_hold, followed_seq, next_due, ca_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, 0, $20, $21) \
         ON CONFLICT (device_id, slot, version) DO UPDATE SET state = excluded.state, \
         serial_number = excluded.serial_number, authority_key_id = excluded.authority_key_id, \
         secret = excluded.secret, fingerprint = excluded.fingerprint, \
         public_key_id = excluded.public_key_id, bind_mode = excluded.bind_mode, \
         activated_at = excluded.activated_at, expires_at = excluded.expires_at, \
         superseded_at = excluded.superseded_at, overlap_until = excluded.overlap_until, \
         revoke_after = excluded.revoke_after, revoked_at = excluded.revoked_at, \
         revocation_reason = excluded.revocation_reason, before_hold = excluded.before_hold, \
         next_due = excluded.next_due, ca_id = excluded.ca_id",
        params![
            device.as_str(),
            slot,
            version.version,
            version.state.name(),
            version.serial_number.as_ref().map(SerialNumber::as_str),
            &version.authority_key_id,
            version.secret.to_string(),
            version.fingerprint.as_deref(),
            version.public_key_id.as_deref(),
            version.bind_mode.as_deref(),
            version.created_at.0,
            version.activated_at.map(|at| at.0),
            version.expires_at.map(|at| at.0),
            version.superseded_at.map(|at| at.0),
            version.overlap_until.map(|at| at.0),
            i64::from(version.revoke_after),
            version.revoked_at.map(|at| at.0),
            version.revocation_reason.map(RevocationReason::name),
            version.before_hold.map(VersionState::name),
            version.next_due().map(|due| due.0),
            version.ca.as_ref().map(CaId::as_str),
        ],
    )
}

/// Removes a version.
pub(crate) fn version_delete(device: &DeviceId, slot: &str, version: u32) -> Statement {
    sql(
        "DELETE FROM slot_version WHERE device_id = $1 AND slot = $2 AND version = $3",
        params![device.as_str(), slot, version],
    )
}

/// In which slot of which device a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The device.
    pub(crate) device_id: DeviceId,
    /// The slot.
    pub(crate) slot: String,
    /// The version.
    pub(crate) version: u32,
    /// The certificate.
    pub(crate) serial_number: SerialNumber,
    /// Hex of the issuer's key identifier, `""` when unknown.
    pub(crate) authority_key_id: String,
    /// The last event of the certificate that the slot followed.
    pub(crate) followed: Seq,
}

/// Notes how far the slot followed the events of its certificate.
pub(crate) fn version_followed(binding: &Binding) -> Statement {
    sql(
        "UPDATE slot_version SET followed_seq = $1 \
         WHERE device_id = $2 AND slot = $3 AND version = $4",
        params![
            binding.followed.0,
            binding.device_id.as_str(),
            &binding.slot,
            binding.version
        ],
    )
}

/// Where certificates with these serial numbers are. One query, by index.
pub(crate) async fn bindings(db: &Db, serials: &[SerialNumber]) -> Result<Vec<Binding>, DbError> {
    if serials.is_empty() {
        return Ok(Vec::new());
    }
    let mut values: Vec<Value> = serials
        .iter()
        .map(|serial| serial.as_str().into())
        .collect();
    let list = in_list(&mut values);
    let text = format!(
        "SELECT device_id, slot, version, serial_number, authority_key_id, followed_seq \
         FROM slot_version WHERE serial_number IN ({list})"
    );
    db.rows(sql_of_few(text, values))
        .await?
        .iter()
        .map(Binding::try_from)
        .collect()
}

impl TryFrom<&Row> for Binding {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let serial = serial(row)?;
        Ok(Self {
            device_id: DeviceId::new(row.get::<String>("device_id")?),
            slot: row.get("slot")?,
            serial_number: serial
                .ok_or_else(|| DbError::corrupt("slot_version.serial_number", "none"))?,
            version: row.get("version")?,
            authority_key_id: row.get("authority_key_id")?,
            followed: Seq(row.get("followed_seq")?),
        })
    }
}

/// How the versions of a slot are listed.
pub(crate) const SLOT_VERSIONS: ListTable = ListTable {
    table: "slot_version",
    columns: COLUMNS,
    key: "version",
    created: "created_at",
    fields: VERSION_FIELDS,
};

/// What versions can be filtered and sorted by.
pub(crate) static VERSION_FIELDS: &[Field] = &[
    Field::number("version", "version"),
    Field::enumeration("state", "state"),
    Field::date("created_at", "created_at"),
    Field::date("expires_at", "expires_at").nullable(),
];

/// The column that says in which slot a version is.
pub(crate) const SLOT_COLUMN: &str = "slot";

/// A version of a list as v2 shows it.
pub(crate) fn listed_version(row: &Row) -> Result<SlotVersion, DbError> {
    Ok(shown(&VersionRow::try_from(row)?.version))
}

const COLUMNS: &[&str] = &[
    "device_id",
    "slot",
    "version",
    "state",
    "serial_number",
    "authority_key_id",
    "secret",
    "fingerprint",
    "public_key_id",
    "bind_mode",
    "created_at",
    "activated_at",
    "expires_at",
    "superseded_at",
    "overlap_until",
    "revoke_after",
    "revoked_at",
    "revocation_reason",
    "before_hold",
    "ca_id",
];

/// All versions of the devices' slots.
pub(super) fn versions(ids: Vec<Value>) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    let columns = COLUMNS.join(", ");
    let text = format!("SELECT {columns} FROM slot_version WHERE device_id IN ({list})");
    sql_of_few(text, values)
}

/// A version as read, with its slot.
pub(super) struct VersionRow {
    pub(super) slot: String,
    pub(super) version: Version,
}

impl TryFrom<&Row> for VersionRow {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let at = |column: &str| -> Result<Option<Timestamp>, DbError> {
            Ok(row.get::<Option<OffsetDateTime>>(column)?.map(Timestamp))
        };
        let reason: Option<String> = row.get("revocation_reason")?;
        let before_hold: Option<String> = row.get("before_hold")?;
        let secret: String = row.get("secret")?;
        Ok(Self {
            slot: row.get("slot")?,
            version: Version {
                version: row.get("version")?,
                state: state(&row.get::<String>("state")?)?,
                serial_number: serial(row)?,
                authority_key_id: row.get("authority_key_id")?,
                ca: row.get::<Option<String>>("ca_id")?.map(CaId::new),
                secret: serde_json::from_str(&secret)
                    .map_err(|_| DbError::corrupt("slot_version.secret", "no JSON"))?,
                fingerprint: row.get("fingerprint")?,
                public_key_id: row.get("public_key_id")?,
                bind_mode: row.get("bind_mode")?,
                created_at: Timestamp(row.get("created_at")?),
                activated_at: at("activated_at")?,
                expires_at: at("expires_at")?,
                superseded_at: at("superseded_at")?,
                overlap_until: at("overlap_until")?,
                revoke_after: row.get::<i64>("revoke_after")? != 0,
                revoked_at: at("revoked_at")?,
                revocation_reason: reason.as_deref().and_then(RevocationReason::from_name),
                before_hold: before_hold.as_deref().map(state).transpose()?,
            },
        })
    }
}

fn state(name: &str) -> Result<VersionState, DbError> {
    VersionState::from_str(name).map_err(|_| DbError::corrupt("slot_version.state", "unknown"))
}

fn serial(row: &Row) -> Result<Option<SerialNumber>, DbError> {
    let Some(text) = row.get::<Option<String>>("serial_number")? else {
        return Ok(None);
    };
    let serial = SerialNumber::parse(&text);
    serial
        .map(Some)
        .ok_or_else(|| DbError::corrupt("slot_version.serial_number", "no serial number"))
}
