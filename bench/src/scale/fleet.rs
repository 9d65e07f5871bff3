//! Lists and statistics of devices with very many of them.
//!
//! Devices are written past the program, as [`crate::seed`] writes certificates: each with an identity, its
//! history, tags and metadata. Their certificates are in no CA: no list of devices looks at them.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use lamassu_core::clock::{Clock as _, SystemClock};

use super::cases::{Case, Rows};
use super::{Place, ask};
use crate::plant::Plant;
use crate::rows::Names;
use crate::server::{Installation, Kind};

const DAY: i64 = 24 * 3_600_000_000;

const CREATED: &[&str] = &["created_at", "id"];

const fn case(ask: &'static str, condition: &'static str, order: &'static [&'static str]) -> Case {
    Case {
        ask,
        rows: Some(Rows {
            table: "device",
            condition,
            order,
        }),
    }
}

const fn few(ask: &'static str) -> Case {
    Case { ask, rows: None }
}

/// Lists of both versions, statistics.
const CASES: &[Case] = &[
    case("devmanager/v1/devices?", "1 = 1", CREATED),
    case("devmanager/v2/devices?", "1 = 1", CREATED),
    case(
        "devmanager/v1/devices?sort_by=creation_timestamp&sort_mode=desc",
        "1 = 1",
        &["created_at DESC", "id"],
    ),
    case(
        "devmanager/v2/devices?sort_by=alias",
        "1 = 1",
        &["alias_folded", "alias", "id"],
    ),
    case(
        "devmanager/v2/devices?sort_by=identity.expiration_date",
        "1 = 1",
        &["not_after", "id"],
    ),
    case(
        "devmanager/v1/devices?filter=status[equal]ACTIVE",
        "status = 'ACTIVE'",
        CREATED,
    ),
    case(
        "devmanager/v1/devices?filter=status[equal]EXPIRED",
        "status = 'EXPIRED'",
        CREATED,
    ),
    few("devmanager/v1/devices?filter=status[equal]DECOMMISSIONED"),
    case(
        "devmanager/v1/devices/dms/fleet-3?",
        "dms_owner = 'fleet-3'",
        CREATED,
    ),
    case(
        "devmanager/v1/devices?filter=tags[contains]line-7",
        "tags LIKE '%\"line-7\"%'",
        CREATED,
    ),
    few("devmanager/v1/devices?filter=tags[contains]lot-77"),
    few("devmanager/v1/devices?filter=tags[contains]nowhere"),
    few("devmanager/v2/devices?filter=metadata[jsonpath]$.site%20==%20%22site-77%22"),
    few("devmanager/v2/devices?filter=metadata[jsonpath]$.rack%20==%2077"),
    few("devmanager/v2/devices?filter=identity.expiration_date[bf]now%2B7d"),
    few(
        "devmanager/v2/devices?filter=identity.expiration_date[bf]now%2B7d\
         &sort_by=identity.expiration_date",
    ),
    few("devmanager/v1/devices?filter=id[contains]device-00077"),
    few("devmanager/v1/devices?filter=id[contains]nowhere"),
    few("devmanager/v2/devices?filter=serial_number[eq]5b000000000000000000000000000077"),
    few("devmanager/v1/stats?"),
    few("devmanager/v2/stats/devices?"),
    few("devmanager/v2/stats/devices?include=health,expiration"),
    few("devmanager/v2/stats/devices?filter=dms_owner[eq]fleet-3"),
    few("devmanager/v2/stats/devices?filter=tags[ct]lot-77"),
];

/// Everything on one database.
pub(crate) async fn measure(
    program: &Path,
    kind: Kind,
    directory: &Path,
    devices: u32,
) -> Result<()> {
    let installation = Installation::new(program, kind, directory)?;
    let server = installation.start().await?;
    let plant = Plant::set_up(&installation, &server).await?;
    server.stop()?;
    let begun = Instant::now();
    installation.fill(&seed(kind, devices))?;
    let seeded = begun.elapsed();
    let server = installation.start().await?;
    println!(
        "fleet: {devices} devices, seeded in {:.0} s, started in {:.2} s",
        seeded.as_secs_f64(),
        server.started_in.as_secs_f64()
    );
    let place = Place {
        plant: plant.moved_to(&server),
        installation,
        server,
        names: Names::default(),
    };
    for case in CASES {
        if let Err(error) = ask(&place, case, &[]).await {
            println!("fleet: {}: {error:#}", case.ask);
        }
    }
    println!("fleet: {} MB resident", place.server.resident_mb()?);
    Ok(())
}

/// Of ten devices seven are active, one each expired, revoked and without identity; a thousandth is retired.
/// They were registered evenly over the last year; identities end evenly over the next.
fn seed(kind: Kind, devices: u32) -> String {
    let series = match kind {
        Kind::Sqlite => format!(
            "(WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted \
             WHERE n < {devices}) SELECT n FROM counted) AS numbers"
        ),
        Kind::Postgres => format!("generate_series(1, {devices}) AS numbers (n)"),
    };
    let (padded, json) = match kind {
        Kind::Sqlite => ("printf('%08d', n)", ""),
        Kind::Postgres => ("lpad(CAST(n AS TEXT), 8, '0')", "::jsonb"),
    };
    let now = SystemClock.now().unix_timestamp() * 1_000_000;
    let begin = now - 365 * DAY;
    let step = 364 * DAY / i64::from(devices.max(1));
    let status = "CASE WHEN n % 1000 = 999 THEN 'DECOMMISSIONED' WHEN n % 10 = 0 THEN 'NO_IDENTITY' \
        WHEN n % 10 = 1 THEN 'EXPIRED' WHEN n % 10 = 2 THEN 'REVOKED' ELSE 'ACTIVE' END";
    let end =
        format!("CASE WHEN n % 10 = 1 THEN {now} - n ELSE {now} + CAST(n AS BIGINT) * {step} END");
    [
        format!(
            "INSERT INTO device (id, id_folded, alias, alias_folded, tags, status, icon, icon_color, \
             created_at, updated_at, metadata, dms_owner, owner_folded, revision) \
             SELECT 'device-' || {padded}, 'device-' || {padded}, 'Pump ' || {padded}, \
             'pump ' || {padded}, ('[\"line-' || CAST(n % 20 AS TEXT) || '\", \"lot-' || \
             CAST(n / 500 AS TEXT) || '\"]'){json}, {status}, 'Cpu', '#888888-#e0e0e0', \
             {begin} + CAST(n AS BIGINT) * {step}, {begin} + CAST(n AS BIGINT) * {step}, \
             ('{{\"site\": \"site-' || CAST(n % 1000 AS TEXT) || '\", \"rack\": ' || \
             CAST(n % 5000 AS TEXT) || '}}'){json}, 'fleet-' || CAST(n % 20 AS TEXT), \
             'fleet-' || CAST(n % 20 AS TEXT), 2 FROM {series}"
        ),
        format!(
            "UPDATE device SET slot_status = CASE WHEN status = 'DECOMMISSIONED' THEN 'REVOKED' \
             ELSE status END, slot_type = 'x509', active_version = 0, slot_revision = 1, \
             slot_created_at = created_at, slot_updated_at = created_at, \
             active_serial = '5b' || lpad_serial.serial, not_after = lpad_serial.ends, \
             preventive_at = lpad_serial.ends - {month}, critical_at = lpad_serial.ends - {week}, \
             next_due = CASE WHEN status = 'ACTIVE' THEN lpad_serial.ends END \
             FROM (SELECT 'device-' || {padded} AS id, '0000000000000000000000' || {padded} AS serial, \
             {end} AS ends FROM {series}) AS lpad_serial \
             WHERE device.id = lpad_serial.id AND device.status <> 'NO_IDENTITY'",
            month = 30 * DAY,
            week = 7 * DAY,
        ),
        "INSERT INTO slot_version (device_id, slot, version, state, serial_number, authority_key_id, \
         secret, created_at, activated_at, expires_at, revoke_after, followed_seq) \
         SELECT id, 'identity', 0, CASE WHEN slot_status IN ('EXPIRED', 'REVOKED') THEN slot_status \
         ELSE 'ACTIVE' END, active_serial, 'aa', '\"' || active_serial || '\"', created_at, \
         created_at, not_after, 0, 0 FROM device WHERE active_serial IS NOT NULL"
            .to_owned(),
        "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
         SELECT id, '', created_at, 'CREATED', '' FROM device"
            .to_owned(),
        "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
         SELECT id, 'identity', created_at, 'PROVISIONED', '' FROM device \
         WHERE active_serial IS NOT NULL"
            .to_owned(),
        "INSERT INTO device_count (status, bucket, devices) \
         SELECT status, 99, COUNT(*) FROM device GROUP BY status"
            .to_owned(),
        format!(
            "INSERT INTO device_value (path, value, device_id) \
             SELECT 'tags', 'sline-' || CAST(n % 20 AS TEXT), 'device-' || {padded} FROM {series} \
             UNION ALL SELECT 'tags', 'slot-' || CAST(n / 500 AS TEXT), 'device-' || {padded} \
             FROM {series} UNION ALL SELECT '$.\"site\"', 'ssite-' || CAST(n % 1000 AS TEXT), \
             'device-' || {padded} FROM {series}"
        ),
        "ANALYZE".to_owned(),
    ]
    .join(";\n")
}
