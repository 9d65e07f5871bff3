//! Table `identity_version`: every certificate that identity slots hold or held.

use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_db::{Db, DbError, Row, Seq, Statement, Value, in_list, params, sql, sql_of_few};
use time::OffsetDateTime;

/// A certificate to store as a version of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityVersion {
    /// Its number in the slot, from 0.
    pub(crate) version: u32,
    /// The certificate's serial number.
    pub(crate) serial_number: SerialNumber,
    /// Hex of the issuer's key identifier, `""` when unknown.
    pub(crate) authority_key_id: String,
}

/// Adds a version to a device's slot.
pub(crate) fn version_insert(
    device: &DeviceId,
    version: &IdentityVersion,
    now: OffsetDateTime,
) -> Statement {
    sql(
        "INSERT INTO identity_version (device_id, version, serial_number, authority_key_id, bound_at) \
         VALUES ($1, $2, $3, $4, $5)",
        params![
            device.as_str(),
            version.version,
            version.serial_number.as_str(),
            &version.authority_key_id,
            now,
        ],
    )
}

/// Which device a certificate identifies now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActiveBinding {
    /// The device.
    pub(crate) device_id: DeviceId,
    /// Its active version.
    pub(crate) version: u32,
    /// The serial number of its active version.
    pub(crate) serial_number: SerialNumber,
    /// Hex of the issuer's key identifier, `""` when unknown.
    pub(crate) authority_key_id: String,
    /// The last event of the certificate that the slot followed.
    pub(crate) followed: Seq,
}

/// Notes how far the slot followed the events of its certificate.
pub(crate) fn version_followed(binding: &ActiveBinding) -> Statement {
    sql(
        "UPDATE identity_version SET followed_seq = $1 WHERE device_id = $2 AND version = $3",
        params![
            binding.followed.0,
            binding.device_id.as_str(),
            binding.version
        ],
    )
}

/// The devices whose active version has one of these serial numbers. One query, by index.
pub(crate) async fn active_bindings(
    db: &Db,
    serials: &[SerialNumber],
) -> Result<Vec<ActiveBinding>, DbError> {
    if serials.is_empty() {
        return Ok(Vec::new());
    }
    let mut values: Vec<Value> = serials
        .iter()
        .map(|serial| serial.as_str().into())
        .collect();
    let list = in_list(&mut values);
    let text = format!(
        "SELECT v.device_id, v.version, v.serial_number, v.authority_key_id, v.followed_seq \
         FROM identity_version v \
         JOIN device d ON d.id = v.device_id AND d.active_version = v.version \
         WHERE v.serial_number IN ({list})"
    );
    db.rows(sql_of_few(text, values))
        .await?
        .iter()
        .map(ActiveBinding::try_from)
        .collect()
}

impl TryFrom<&Row> for ActiveBinding {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            device_id: DeviceId::new(row.get::<String>("device_id")?),
            serial_number: serial(row)?,
            version: row.get("version")?,
            authority_key_id: row.get("authority_key_id")?,
            followed: Seq(row.get("followed_seq")?),
        })
    }
}

/// All versions of the devices' identity slots.
pub(super) fn versions(ids: Vec<Value>) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    let text = format!(
        "SELECT device_id, version, serial_number FROM identity_version WHERE device_id IN ({list})"
    );
    sql_of_few(text, values)
}

/// A version as read, with its device.
pub(super) struct VersionRow {
    pub(super) device_id: String,
    pub(super) version: u32,
    pub(super) serial_number: SerialNumber,
}

impl TryFrom<&Row> for VersionRow {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            device_id: row.get("device_id")?,
            version: row.get("version")?,
            serial_number: serial(row)?,
        })
    }
}

fn serial(row: &Row) -> Result<SerialNumber, DbError> {
    let text: String = row.get("serial_number")?;
    SerialNumber::parse(&text)
        .ok_or_else(|| DbError::corrupt("identity_version.serial_number", "no serial number"))
}
