//! Fills the database of a stopped installation with certificates and keys, past the program.
//!
//! Rows are made by the database itself from a row that the program has stored: other numbers
//! (in the DER too), names, times and states. No signature in them verifies; nothing that is
//! measured looks at one. Indexes are dropped before and made again behind, from their own texts.
//! What else must know of the certificates finds them when the program starts.

use anyhow::{Context as _, Result, ensure};
use lamassu_core::clock::{Clock as _, SystemClock};
use lamassu_crypto::HashAlgorithm;
use rusqlite::Connection as Sqlite;
use rusqlite::functions::FunctionFlags;

use crate::server::{Installation, Kind};

/// How much of what there shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Certificates that the CAs issued, a tenth of them revoked ones of the CA `bench`.
    pub(crate) certificates: u32,
    /// CAs, that are there already.
    pub(crate) cas: u32,
    /// Keys beside those of the CAs.
    pub(crate) keys: u32,
}

/// Where the two databases write the same thing in another way.
struct Words {
    /// Rows `n` from 1 to the number of them.
    series: String,
    /// Eight hexadecimal digits that grow with `n`.
    ascending: &'static str,
    /// The template's DER with another number.
    der: String,
    /// The SHA-256 of `der`.
    fingerprint: &'static str,
    /// How a text becomes a JSON column.
    json: &'static str,
}

impl Words {
    fn new(kind: Kind, count: u32, serial_at: usize) -> Self {
        match kind {
            Kind::Sqlite => Self {
                series: format!(
                    "(WITH RECURSIVE counted (n) AS \
                     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count}) \
                     SELECT n FROM counted) AS numbers"
                ),
                ascending: "printf('%08x', 268435456 + n)",
                der: format!("patched(t.der, {serial_at}, serial)"),
                fingerprint: "sha256(der)",
                json: "",
            },
            Kind::Postgres => Self {
                series: format!("generate_series(1, {count}) AS numbers (n)"),
                ascending: "to_hex(268435456 + n)",
                der: format!("overlay(t.der PLACING decode(serial, 'hex') FROM {serial_at})"),
                fingerprint: "encode(sha256(der), 'hex')",
                json: "::jsonb",
            },
        }
    }
}

/// Adds so much to the stopped installation. `template` is the serial number of a certificate that
/// the CA `bench` issued.
pub(crate) fn seed(installation: &Installation, template: &str, amount: Amount) -> Result<()> {
    let kind = installation.kind();
    let found = installation.rows(&format!(
        "SELECT {} FROM certificate WHERE serial_number = '{template}'",
        match kind {
            Kind::Sqlite => "lower(hex(der))",
            Kind::Postgres => "encode(der, 'hex')",
        }
    ))?;
    let der = found
        .first()
        .and_then(|row| row.first())
        .context("no template")?;
    ensure!(template.len() == 40, "the template's number is {template}");
    // Two digits are a byte, and the first byte is number one.
    let serial_at = der.find(template).context("a certificate has its number")? / 2 + 1;
    let words = Words::new(kind, amount.certificates, serial_at);
    let mut script = vec![
        format!(
            "CREATE TEMP TABLE seed_template AS \
             SELECT * FROM certificate WHERE serial_number = '{template}'"
        ),
        authorities(amount),
        certificates(&words, amount),
        NAMES.to_owned(),
    ];
    if amount.keys > 0 {
        script.push(keys(&Words::new(kind, amount.keys, serial_at)));
    }
    fill(
        installation,
        &["certificate", "certificate_san", "kms_key"],
        script,
    )
}

/// Runs a script on the stopped installation. Indexes of the tables are dropped before and made again behind.
pub(crate) fn fill(
    installation: &Installation,
    tables: &[&str],
    script: Vec<String>,
) -> Result<()> {
    let tables = format!("'{}'", tables.join("', '"));
    let indexes = installation.rows(&match installation.kind() {
        Kind::Sqlite => format!(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
             AND tbl_name IN ({tables})"
        ),
        Kind::Postgres => format!(
            "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indexrelid \
             JOIN pg_class t ON t.oid = i.indrelid \
             WHERE t.relnamespace = 'bench'::regnamespace AND NOT i.indisprimary \
             AND t.relname IN ({tables})"
        ),
    })?;
    let column = |at: usize| indexes.iter().filter_map(move |index| index.get(at));
    let dropped = column(0).map(|name| format!("DROP INDEX {name}"));
    let analyze = std::iter::once("ANALYZE".to_owned());
    let script = dropped
        .chain(script)
        .chain(column(1).cloned())
        .chain(analyze);
    let script: Vec<String> = script.collect();
    installation.fill(&script.join(";\n"))
}

/// A table of the CAs, numbered from 0, the CA `bench` first.
fn authorities(amount: Amount) -> String {
    format!(
        "CREATE TEMP TABLE seed_ca AS SELECT \
         row_number() OVER (ORDER BY ca_id <> 'bench', ca_id) - 1 AS k, ca_id, ca_level, \
         serial_number, subject_key_id, '.' || md5(ca_id) AS suffix \
         FROM certificate_authority_entry ORDER BY ca_id <> 'bench', ca_id LIMIT {}",
        amount.cas
    )
}

/// The certificates: five sixths active, a few expired, the rest revoked. They were issued evenly
/// over the last year for two years, or for an hour if they shall be expired.
fn certificates(words: &Words, amount: Amount) -> String {
    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;
    let now = SystemClock.now().unix_timestamp() * 1_000_000;
    let begin = now - 365 * DAY;
    let step = 364 * DAY / i64::from(amount.certificates.max(1));
    let others = amount.cas.saturating_sub(1).max(1);
    let Words {
        series,
        ascending,
        der,
        fingerprint,
        json,
    } = words;
    format!(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, metadata, is_ca, subject_common_name, \
         subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
         key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
         issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, next_due, \
         next_window, expired_by_job, profile_id, fingerprint) \
         SELECT serial || suffix, serial, 1, created, der, status, \
         CASE WHEN n % 100 = 7 THEN 'IMPORTED_WITHOUT_KEY' ELSE certificate_type END, engine_id, \
         ('{{\"site\": \"s' || CAST(n % 50 AS TEXT) || '\"}}'){json}, is_ca, name, lower(name), \
         md5('key' || serial) || md5('id' || serial), subject_key_id, key_type, key_bits, \
         key_strength, key_usage, extended_key_usage, valid_from, \
         CASE WHEN status = 'EXPIRED' THEN valid_from + {HOUR} ELSE valid_from + {two_years} END, \
         ca_id, ca_serial, ca_level, \
         CASE WHEN status = 'REVOKED' THEN created + {HOUR} ELSE revocation_timestamp END, \
         CASE WHEN status = 'REVOKED' THEN 'KeyCompromise' ELSE revocation_reason END, \
         CASE WHEN status = 'ACTIVE' THEN valid_from + {two_years} END, \
         CASE WHEN status = 'ACTIVE' THEN valid_from + {two_years} - {week} END, \
         expired_by_job, 'profile-' || CAST(n % 10 AS TEXT), {fingerprint} \
         FROM (SELECT c.n, c.serial, c.status, c.created, c.name, \
           c.created - c.created % 1000000 AS valid_from, {der} AS der, t.certificate_type, \
           t.engine_id, t.is_ca, t.key_type, t.key_bits, t.key_strength, t.key_usage, \
           t.extended_key_usage, t.revocation_timestamp, t.revocation_reason, t.expired_by_job, \
           a.ca_id, a.ca_level, a.serial_number AS ca_serial, a.subject_key_id, a.suffix \
           FROM (SELECT n, {ascending} || md5('serial' || CAST(n AS TEXT)) AS serial, \
             {begin} + CAST(n AS BIGINT) * {step} AS created, \
             CASE n % 4 WHEN 0 THEN 'Sensor-' WHEN 1 THEN 'Meter-' WHEN 2 THEN 'Pump-' \
               ELSE 'Gateway-' END || CAST(10000000 + n AS TEXT) AS name, \
             CASE WHEN n % 10 = 0 THEN 0 ELSE 1 + n % {others} END AS k, \
             CASE WHEN n % 10 = 0 OR n % 19 = 3 THEN 'REVOKED' WHEN n % 20 = 1 THEN 'EXPIRED' \
               ELSE 'ACTIVE' END AS status \
             FROM {series}) AS c \
           JOIN seed_ca AS a ON a.k = c.k \
           CROSS JOIN seed_template AS t) AS made",
        two_years = 730 * DAY,
        week = 7 * DAY,
    )
}

/// A fourth of the certificates has an alternative name.
const NAMES: &str = "INSERT INTO certificate_san (certificate_id, value, value_folded) \
    SELECT id, subject_common_name || '.example', subject_common_name_folded || '.example' \
    FROM certificate WHERE subject_common_name LIKE 'Gateway-1%'";

/// Keys like that of some CA, which nobody can sign with.
fn keys(words: &Words) -> String {
    let Words { series, json, .. } = words;
    format!(
        "INSERT INTO kms_key (handle, revision, state, state_changed_at, key_id, name, \
         name_folded, aliases, engine_id, has_private_key, algorithm, size, public_key, \
         created_at, tags, metadata, status) \
         SELECT 'seed-' || CAST(n AS TEXT), 1, 'ready', t.state_changed_at, \
         md5('key' || CAST(n AS TEXT)) || md5('id' || CAST(n AS TEXT)), \
         'Key-' || CAST(10000000 + n AS TEXT), 'key-' || CAST(10000000 + n AS TEXT), t.aliases, \
         t.engine_id, t.has_private_key, t.algorithm, t.size, t.public_key, t.created_at + n, \
         ('[\"line-' || CAST(n % 20 AS TEXT) || '\"]'){json}, t.metadata, t.status \
         FROM {series}, \
         (SELECT * FROM kms_key WHERE state = 'ready' ORDER BY created_at, handle LIMIT 1) AS t"
    )
}

/// What PostgreSQL has and SQLite has not; `md5` only has to look like one.
pub(crate) fn register(database: &Sqlite) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let digest = |bytes: &[u8]| hex::encode(HashAlgorithm::Sha256.digest(bytes));
    database.create_scalar_function("md5", 1, flags, move |context| {
        let text: String = context.get(0)?;
        Ok(digest(text.as_bytes())
            .get(..32)
            .unwrap_or_default()
            .to_owned())
    })?;
    database.create_scalar_function("sha256", 1, flags, move |context| {
        Ok(digest(&context.get::<Vec<u8>>(0)?))
    })?;
    database.create_scalar_function("patched", 3, flags, |context| {
        let (mut der, at): (Vec<u8>, u32) = (context.get(0)?, context.get(1)?);
        let fresh = hex::decode(context.get::<String>(2)?).unwrap_or_default();
        let place = der
            .iter_mut()
            .skip(usize::try_from(at - 1).unwrap_or(usize::MAX));
        for (byte, fresh) in place.zip(fresh) {
            *byte = fresh;
        }
        Ok(der)
    })?;
    Ok(())
}
