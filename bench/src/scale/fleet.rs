//! Lists and statistics of devices with very many of them.
//!
//! Devices are written past the program, as [`crate::seed`] writes certificates: each with an identity, its
//! history, tags and metadata. Their certificates are in no CA, since no list of devices looks at them, or
//! are those that [`crate::seed`] wrote.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use lamassu_core::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::cases::{Case, Rows};
use super::{Place, ask, indexed};
use crate::plant::Plant;
use crate::rows::Names;
use crate::seed;
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
pub(super) const CASES: &[Case] = &[
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
        "CAST(tags AS TEXT) LIKE '%\"line-7\"%'",
        CREATED,
    ),
    few("devmanager/v1/devices?filter=tags[contains]lot-77"),
    few("devmanager/v1/devices?filter=tags[contains]nowhere"),
    case(
        "devmanager/v1/devices?filter=tags[contains]newest",
        "CAST(tags AS TEXT) LIKE '%\"newest\"%'",
        CREATED,
    ),
    few("devmanager/v2/devices?filter=metadata[jsonpath]$.site%20==%20%22site-77%22"),
    few("devmanager/v2/devices?filter=metadata[jsonpath]$.rack%20==%2077"),
    few("devmanager/v2/devices?filter=identity.expiration_date[bf]now%2B7d"),
    few(
        "devmanager/v2/devices?filter=identity.expiration_date[bf]now%2B7d\
         &sort_by=identity.expiration_date",
    ),
    few(
        "devmanager/v2/devices?filter=identity.expiration_date[bf]now%2B1h\
         &filter=identity.expiration_date[af]now",
    ),
    few("devmanager/v2/devices?filter=identity.expiration_date[af]now%2B300d"),
    few("devmanager/v2/devices?filter=dms_owner[eq]fleet-3&filter=status[eq]DECOMMISSIONED"),
    few("devmanager/v1/devices?filter=id[contains]Pump-10077"),
    few("devmanager/v1/devices?filter=id[contains]nowhere"),
    few("devmanager/v2/devices?filter=serial_number[eq]{active_serial}"),
    few("devmanager/v1/stats?"),
    few("devmanager/v2/stats/devices?"),
    few("devmanager/v2/stats/devices?include=health,expiration"),
    few("devmanager/v2/stats/devices?filter=dms_owner[eq]fleet-3"),
    few("devmanager/v2/stats/devices?filter=tags[ct]lot-77"),
    few("devmanager/v2/stats/devices?group_by=dms_owner"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000000/devices?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000000/stats?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000001/devices?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000001/stats?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000002/devices?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000002/stats?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000003/devices?"),
    few("devmanager/v1/device-groups/00000000-0000-4000-8000-000000000003/stats?"),
    few("devmanager/v2/devices?group=00000000-0000-4000-8000-000000000001"),
];

/// What the members of the groups above fulfil, in their order.
const GROUPS: [(&str, &str, &str); 4] = [
    ("dms_owner", "equal", "fleet-3"),
    ("tags", "contains", "lot-77"),
    ("metadata", "jsonpath", "$.site == \"site-77\""),
    ("status", "equal", "EXPIRED"),
];

/// Where the identities of devices are from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Identities {
    /// Certificates of no CA.
    Invented,
    /// The certificates that are there, one device each.
    OfCertificates,
}

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
    seed(&installation, devices, Identities::Invented)?;
    let seeded = begun.elapsed();
    let server = installation.start().await?;
    println!(
        "fleet: {devices} devices, seeded in {:.0} s, started in {:.2} s",
        seeded.as_secs_f64(),
        server.started_in.as_secs_f64()
    );
    indexed(&installation).await?;
    let place = Place {
        plant: plant.moved_to(&server),
        installation,
        server,
        names: Names::default(),
    };
    ask_all(&place).await?;
    println!("fleet: {} MB resident", place.server.resident_mb()?);
    Ok(())
}

/// Makes the groups, and measures each case.
pub(super) async fn ask_all(place: &Place) -> Result<()> {
    let mut api = place.plant.api();
    for (n, (field, operand, value)) in GROUPS.into_iter().enumerate() {
        let group = json!({"id": format!("00000000-0000-4000-8000-{n:012}"), "name": format!("Group {n}"),
            "criteria": [{"field": field, "operand": operand, "value": value}]});
        api.post("/api/devmanager/v1/device-groups", &group).await?;
    }
    let rows = place.installation.rows(
        "SELECT active_serial FROM device WHERE active_serial IS NOT NULL ORDER BY id \
         LIMIT 1 OFFSET (SELECT count(*) / 2 FROM device)",
    )?;
    let serial = rows.first().and_then(|row| row.first());
    let serial = serial.context("no device has an identity")?;
    let sample = [("active_serial".to_owned(), serial.clone())];
    for case in CASES {
        if let Err(error) = ask(place, case, &sample).await {
            println!("fleet: {}: {error:#}", case.ask);
        }
    }
    Ok(())
}

/// The numbers of devices, with status, certificate and its end. Of ten devices whose certificates are
/// invented seven are active, one each expired, revoked and without identity; a thousandth is retired. They
/// were registered evenly over the last year; identities end evenly over the next.
fn identities(kind: Kind, devices: u32, identities: Identities) -> String {
    let series = match kind {
        Kind::Sqlite => format!(
            "(WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted \
             WHERE n < {devices}) SELECT n FROM counted) AS numbers"
        ),
        Kind::Postgres => format!("generate_series(1, {devices}) AS numbers (n)"),
    };
    let now = SystemClock.now().unix_timestamp() * 1_000_000;
    let step = 364 * DAY / i64::from(devices.max(1));
    match identities {
        Identities::Invented => format!(
            "SELECT n, CASE n % 4 WHEN 0 THEN 'Sensor-' WHEN 1 THEN 'Meter-' WHEN 2 THEN 'Pump-' \
             ELSE 'Gateway-' END || CAST(10000000 + n AS TEXT) AS id, \
             CASE WHEN n % 1000 = 999 THEN 'DECOMMISSIONED' WHEN n % 10 = 0 THEN 'NO_IDENTITY' \
             WHEN n % 10 = 1 THEN 'EXPIRED' WHEN n % 10 = 2 THEN 'REVOKED' ELSE 'ACTIVE' END AS status, \
             CASE WHEN n % 10 <> 0 THEN '5b' || CAST(1000000000000000 + n AS TEXT) END AS serial, \
             'aa' AS authority, CAST(NULL AS TEXT) AS ca, \
             CASE WHEN n % 10 = 1 THEN {now} - n WHEN n % 10 <> 0 \
             THEN {now} + CAST(n AS BIGINT) * {step} END AS ends FROM {series}"
        ),
        Identities::OfCertificates => format!(
            "SELECT row_number() OVER (ORDER BY created_at, id) AS n, subject_common_name AS id, \
             CASE WHEN status = 'INACTIVE' THEN 'ACTIVE' ELSE status END AS status, \
             serial_number AS serial, authority_key_id AS authority, issuer_ca_id AS ca, \
             valid_to AS ends FROM certificate \
             WHERE profile_id LIKE 'profile-%' ORDER BY created_at, id LIMIT {devices}"
        ),
    }
}

/// Writes so many devices into the stopped installation.
pub(super) fn seed(installation: &Installation, devices: u32, source: Identities) -> Result<()> {
    let kind = installation.kind();
    let json = match kind {
        Kind::Sqlite => "",
        Kind::Postgres => "::jsonb",
    };
    let now = SystemClock.now().unix_timestamp() * 1_000_000;
    let begin = now - 365 * DAY;
    let step = 364 * DAY / i64::from(devices.max(1));
    // The last fiftieth has a tag of its own.
    let newest = devices - devices / 50;
    let script = vec![
        format!(
            "CREATE TEMP TABLE seed_device AS SELECT n, id, status, serial, authority, ca, ends, \
             {begin} + CAST(n AS BIGINT) * {step} AS created FROM ({}) AS numbered",
            identities(kind, devices, source)
        ),
        format!(
            "INSERT INTO device (id, id_folded, alias, alias_folded, tags, status, icon, icon_color, \
             created_at, updated_at, metadata, dms_owner, owner_folded, revision, slot_status, \
             slot_type, active_version, slot_revision, slot_created_at, slot_updated_at, \
             active_serial, not_after, preventive_at, critical_at, next_due) \
             SELECT id, lower(id), 'Unit ' || CAST(n AS TEXT), 'unit ' || CAST(n AS TEXT), \
             ('[\"line-' || CAST(n % 20 AS TEXT) || '\", \"lot-' || CAST(n / 500 AS TEXT) || \
             CASE WHEN n > {newest} THEN '\", \"newest\"]' ELSE '\"]' END){json}, status, 'Cpu', \
             '#888888-#e0e0e0', created, created, ('{{\"site\": \"site-' || CAST(n % 1000 AS TEXT) || \
             '\", \"rack\": ' || CAST(n % 5000 AS TEXT) || '}}'){json}, \
             'fleet-' || CAST(n % 20 AS TEXT), 'fleet-' || CAST(n % 20 AS TEXT), 2, \
             CASE WHEN serial IS NULL THEN NULL WHEN status = 'DECOMMISSIONED' THEN 'REVOKED' \
             ELSE status END, CASE WHEN serial IS NOT NULL THEN 'x509' END, \
             CASE WHEN serial IS NOT NULL THEN 0 END, CASE WHEN serial IS NOT NULL THEN 1 END, \
             CASE WHEN serial IS NOT NULL THEN created END, \
             CASE WHEN serial IS NOT NULL THEN created END, serial, ends, ends - {month}, \
             ends - {week}, CASE WHEN status = 'ACTIVE' THEN ends END FROM seed_device ORDER BY n",
            month = 30 * DAY,
            week = 7 * DAY,
        ),
        "INSERT INTO slot_version (device_id, slot, version, state, serial_number, authority_key_id, \
         ca_id, secret, created_at, activated_at, expires_at, revoke_after, followed_seq) \
         SELECT id, 'identity', 0, CASE status WHEN 'EXPIRED' THEN 'EXPIRED' WHEN 'ACTIVE' THEN 'ACTIVE' \
         ELSE 'REVOKED' END, serial, authority, ca, '\"' || serial || '\"', created, created, ends, 0, 0 \
         FROM seed_device WHERE serial IS NOT NULL"
            .to_owned(),
        "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
         SELECT id, '', created, 'CREATED', '' FROM seed_device"
            .to_owned(),
        "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
         SELECT id, 'identity', created, 'PROVISIONED', '' FROM seed_device WHERE serial IS NOT NULL"
            .to_owned(),
        "INSERT INTO device_count (status, bucket, devices) \
         SELECT status, 99, COUNT(*) FROM seed_device GROUP BY status"
            .to_owned(),
        format!(
            "INSERT INTO device_value (path, value, created_at, device_id) \
             SELECT 'tags', 'sline-' || CAST(n % 20 AS TEXT), created, id FROM seed_device \
             UNION ALL SELECT 'tags', 'slot-' || CAST(n / 500 AS TEXT), created, id FROM seed_device \
             UNION ALL SELECT 'tags', 'snewest', created, id FROM seed_device WHERE n > {newest} \
             UNION ALL SELECT '$.\"site\"', 'ssite-' || CAST(n % 1000 AS TEXT), created, id \
             FROM seed_device"
        ),
    ];
    let tables = ["device", "device_value", "slot_version", "device_event"];
    seed::fill(installation, &tables, script)
}
