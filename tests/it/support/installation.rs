//! An installation that tests kill, whatever its database is and however many processes it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lamassu_db::PostgresOptions;
use lamassu_testing::{PostgresServer, SoftHsm};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::support::client::Client;
use crate::support::load::Ledger;
use crate::support::program::{Options, Program};

/// Which database, and how many processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// SQLite, all services in one process.
    OneProcessSqlite,
    /// PostgreSQL, all services in one process.
    OneProcessPostgres,
    /// PostgreSQL, three processes.
    ApartPostgres,
}

/// A running installation.
#[derive(Debug)]
pub(crate) struct Installation {
    layout: Layout,
    /// Its process.
    pub(crate) program: Program,
    /// The server of its rows, where it is not the one that tests share.
    server: Option<PostgresServer>,
    /// The token of its keys, where they are in no files.
    token: Option<(Arc<SoftHsm>, &'static str)>,
}

impl Installation {
    /// Starts an empty one.
    ///
    /// # Errors
    /// It does not get ready.
    pub(crate) fn start(layout: Layout) -> Result<Self> {
        let program = match layout {
            Layout::OneProcessSqlite => Program::start_on(Options::default(), None)?,
            Layout::OneProcessPostgres => Program::start_on(Options::default(), schema())?,
            Layout::ApartPostgres => {
                let options = Options {
                    apart: true,
                    ..Options::default()
                };
                Program::start_on(options, schema())?
            }
        };
        let server = None;
        Ok(Self {
            layout,
            program,
            server,
            token: None,
        })
    }

    /// The same, around a process that a test started in its own way.
    pub(crate) fn around(program: Program) -> Self {
        Self {
            layout: Layout::OneProcessSqlite,
            program,
            server: None,
            token: None,
        }
    }

    /// The same, whose keys are in the token of this label.
    pub(crate) fn with_token(program: Program, hsm: Arc<SoftHsm>, label: &'static str) -> Self {
        Self {
            token: Some((hsm, label)),
            ..Self::around(program)
        }
    }

    /// The same, with rows on a server of its own.
    pub(crate) fn with_server(program: Program, server: PostgresServer) -> Self {
        Self {
            layout: Layout::OneProcessPostgres,
            program,
            server: Some(server),
            token: None,
        }
    }

    fn server(&self) -> &PostgresServer {
        match &self.server {
            Some(server) => server,
            None => PostgresServer::shared(),
        }
    }

    /// Ends the database server without warning and, so much after the order to do so, the process.
    ///
    /// # Errors
    /// They cannot be ended.
    pub(crate) fn cut_power(&mut self, process_lasts: Duration) -> Result<()> {
        let server = self.server.as_ref().context("a server of its own")?;
        let program = &mut self.program;
        std::thread::scope(|scope| {
            let crashing = scope.spawn(|| server.crash());
            std::thread::sleep(process_lasts);
            program.kill()?;
            crashing.join().expect("no panic")
        })
    }

    /// Starts the database server again after a power cut.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn resume_server(&self) -> Result<()> {
        self.server().resume()
    }

    /// Starts the process again that was killed.
    ///
    /// # Errors
    /// It does not get ready.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.let_time_pass()?;
        self.program.restart()
    }

    /// Kills every process without warning, and starts them again.
    ///
    /// # Errors
    /// They do not get ready.
    pub(crate) fn kill_and_restart(&mut self) -> Result<()> {
        self.program.kill()?;
        self.nothing_passed_over()?;
        self.restart()
    }

    /// Every revocation that the validation authority's reader has gone past is among its entries.
    /// Looked at before a start, which would repair it.
    fn nothing_passed_over(&self) -> Result<()> {
        let passed = self.rows(
            "SELECT subject, body FROM event_log WHERE event_type = 'certificate.status.update' \
             AND seq <= (SELECT position FROM subscriptions WHERE name = 'va-ca-events')",
        )?;
        let listed: BTreeSet<String> = self
            .rows("SELECT serial_number FROM va_revoked")?
            .into_iter()
            .flatten()
            .collect();
        for (subject, body) in passed.into_iter().filter_map(pair) {
            let body: serde_json::Value = serde_json::from_str(&body)?;
            let serial = subject.trim_start_matches("certificate/");
            // The load releases nothing, so what was revoked once stays so.
            ensure!(
                body["data"]["updated"]["status"] != "REVOKED" || listed.contains(serial),
                "the revocation of {serial} was passed over"
            );
        }
        Ok(())
    }

    /// Kills every process without warning, and once more while they start again.
    ///
    /// # Errors
    /// They cannot be started.
    pub(crate) fn kill_while_starting(&mut self, after: Duration) -> Result<()> {
        self.program.kill_and_kill_while_starting(after)
    }

    /// Kills one process without warning while the others go on, once more while it starts again
    /// if `while_starting` says when, and waits until it is back.
    ///
    /// # Errors
    /// It does not get ready.
    pub(crate) fn kill_one_and_restart(
        &mut self,
        n: usize,
        while_starting: Option<Duration>,
    ) -> Result<()> {
        let killed = self.program.kill_one(n)?;
        self.let_leases_end(&format!("holder LIKE '%/{killed}/%'"))?;
        if let Some(after) = while_starting {
            self.program.spawn_one(n)?;
            std::thread::sleep(after);
            let killed = self.program.kill_one(n)?;
            self.let_leases_end(&format!("holder LIKE '%/{killed}/%'"))?;
        }
        self.program.restart_one(n)
    }

    /// Where nothing proves that no other process runs, what a kill leaves is settled by its age
    /// and leases run out: here twenty minutes go by between the kill and the next start.
    fn let_time_pass(&self) -> Result<()> {
        self.let_leases_end("TRUE")?;
        self.let_leftovers_age("")
    }

    /// The same for what one killed process left to those that run, and nothing else is under way.
    /// The jobs that settle it look every few minutes, so they do within that time.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) fn let_time_pass_while_running(&self) -> Result<()> {
        let Some(schema) = self.program.schema() else {
            return Ok(());
        };
        let told = r#"{"process": "a test", "wakes": ["kms-reaper", "ca-abandoned-operations", "dms-enrollment-sweep"]}"#;
        self.let_leftovers_age(&format!("SELECT pg_notify('{schema}', '{told}')"))
    }

    fn let_leases_end(&self, which: &str) -> Result<()> {
        self.change(&format!(
            "UPDATE leases SET expires_at = expires_at - 1200000000 WHERE {which}"
        ))
    }

    /// In one transaction with the statement `and_then`.
    fn let_leftovers_age(&self, and_then: &str) -> Result<()> {
        self.change(&format!(
            "UPDATE kms_key SET state_changed_at = state_changed_at - 1200000000 \
             WHERE state <> 'ready'; \
             UPDATE ca_operation SET started_at = started_at - 1200000000; \
             UPDATE enrollment_intent SET opened_at = opened_at - 1200000000 \
             WHERE state = 'open'; {and_then}"
        ))
    }

    /// Changes rows of a PostgreSQL schema; does nothing where there is none.
    fn change(&self, sql: &str) -> Result<()> {
        if let Some(schema) = self.program.schema() {
            self.server()
                .psql(&format!("SET search_path = {schema}; {sql}"))?;
        }
        Ok(())
    }

    /// A client with an administrator's token.
    ///
    /// # Errors
    /// There is no token.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client {
            port: self.program.https_port,
            token: self.program.token("admin")?,
        })
    }

    /// Everything that is wrong with what is stored, given what was acknowledged. Empty once the
    /// installation has settled.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn violations(&self, ledger: &Ledger) -> Result<Vec<String>> {
        let stored = Stored::read(self)?;
        let mut found = Findings::default();
        stored.acknowledged(ledger, &mut found);
        stored.whole(&mut found);
        stored.once(ledger, &mut found);
        stored.no_orphans(&mut found);
        Ok(found.0)
    }

    /// All rows of a query, as text; nothing is written. The SQL is what every database speaks.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        match self.layout {
            Layout::OneProcessSqlite => sqlite_rows(&self.program, sql),
            Layout::OneProcessPostgres | Layout::ApartPostgres => {
                let schema = self.program.schema().context("a schema")?;
                self.server().rows(schema, sql)
            }
        }
    }

    /// The names of the key files, or of the keys in the token.
    fn key_files(&self) -> Result<BTreeSet<String>> {
        if let Some((hsm, label)) = &self.token {
            return hsm.private_keys(label);
        }
        let data_dir = match self.layout {
            Layout::OneProcessSqlite | Layout::OneProcessPostgres => self.program.data_dir(),
            Layout::ApartPostgres => self.program.scratch().join("data-keys"),
        };
        std::fs::read_dir(data_dir.join("keys"))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

fn schema() -> Option<Box<PostgresOptions>> {
    Some(Box::new(PostgresServer::shared().fresh_schema()))
}

fn sqlite_rows(program: &Program, sql: &str) -> Result<Vec<Vec<String>>> {
    let path = program.data_dir().join("lamassu.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mut statement = connection.prepare(sql).with_context(|| sql.to_owned())?;
    let n_columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..n_columns)
            .map(|column| row.get::<_, Value>(column).map(text))
            .collect()
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => hex::encode(bytes),
    }
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    /// Says what is in `these` and not in `those`.
    fn missing<'a>(
        &mut self,
        what: &str,
        these: impl IntoIterator<Item = &'a String>,
        those: impl Fn(&str) -> bool,
    ) {
        for this in these {
            if !those(this) {
                self.0.push(format!("{what}: {this}"));
            }
        }
    }
}

/// What the database and the key directory hold.
struct Stored {
    /// Status by serial number.
    certificates: BTreeMap<String, String>,
    /// Serial numbers of certificates for enrolled devices that are not revoked.
    valid_enrolled: BTreeSet<String>,
    /// Serial number of the active identity by device; empty for none.
    devices: BTreeMap<String, String>,
    /// Serial numbers in any identity slot.
    bound: BTreeSet<String>,
    /// How many certificates its slot ever had, by device.
    versions: BTreeMap<String, String>,
    authorities: BTreeSet<String>,
    /// Name by profile.
    profiles: BTreeMap<String, String>,
    keys: Vec<StoredKey>,
    key_files: BTreeSet<String>,
    /// How often, by type and subject.
    events: BTreeMap<(String, String), usize>,
    /// The same of the audit log.
    audit: BTreeMap<(String, String), usize>,
    /// Serial numbers that the validation authority lists.
    listed: BTreeSet<String>,
    /// Things that must not be there at all.
    leftovers: Vec<String>,
}

struct StoredKey {
    handle: String,
    state: String,
    id: String,
    name: String,
    is_used: bool,
}

/// The event, and the audited operation, of a revocation.
const STATUS_UPDATE: &str = "certificate.status.update";

/// Queries of which every row is something unfinished or wrong.
const LEFTOVERS: [(&str, &str); 5] = [
    (
        "event set aside",
        "SELECT event_type, error FROM dead_letters",
    ),
    (
        "enrollment not settled",
        "SELECT device_id, state FROM enrollment_intent WHERE state = 'open'",
    ),
    (
        "operation not settled",
        "SELECT id, state FROM ca_operation",
    ),
    (
        "device counted wrong",
        "SELECT c.status, SUM(c.devices) FROM device_count c GROUP BY c.status \
         HAVING SUM(c.devices) <> (SELECT COUNT(*) FROM device d WHERE d.status = c.status)",
    ),
    (
        "device whose status is not that of its certificate",
        "SELECT d.id, d.slot_status FROM device d \
         JOIN slot_version v ON v.device_id = d.id AND v.slot = 'identity' \
         AND v.version = d.active_version \
         JOIN certificate c ON c.serial_number = v.serial_number \
         WHERE (c.status = 'REVOKED') <> (d.slot_status = 'REVOKED')",
    ),
];

impl Stored {
    fn read(installation: &Installation) -> Result<Self> {
        let set = |sql| -> Result<BTreeSet<String>> {
            let rows = installation.rows(sql)?;
            Ok(rows.into_iter().flatten().collect())
        };
        let map = |sql| -> Result<BTreeMap<String, String>> {
            let rows = installation.rows(sql)?;
            Ok(rows.into_iter().filter_map(pair).collect())
        };
        let counts = |sql| -> Result<BTreeMap<(String, String), usize>> {
            let mut counts = BTreeMap::new();
            for row in installation.rows(sql)? {
                *counts.entry(pair(row).context("two columns")?).or_default() += 1;
            }
            Ok(counts)
        };
        let mut leftovers = Vec::new();
        for (what, sql) in LEFTOVERS {
            let rows = installation.rows(sql)?;
            leftovers.extend(rows.iter().map(|row| format!("{what}: {}", row.join(" "))));
        }
        let keys = installation
            .rows("SELECT handle, state, COALESCE(key_id, ''), name, metadata FROM kms_key")?;
        Ok(Self {
            certificates: map("SELECT serial_number, status FROM certificate WHERE NOT is_ca")?,
            valid_enrolled: set("SELECT serial_number FROM certificate \
                WHERE subject_common_name LIKE 'device-%' AND status <> 'REVOKED'")?,
            devices: map("SELECT d.id, COALESCE(v.serial_number, '') FROM device d \
                LEFT JOIN slot_version v ON v.device_id = d.id AND v.slot = 'identity' \
                 AND v.version = d.active_version")?,
            bound: set("SELECT serial_number FROM slot_version")?,
            versions: map("SELECT device_id, COUNT(*) FROM slot_version GROUP BY device_id")?,
            authorities: set("SELECT id FROM certificate_authority")?,
            profiles: map("SELECT id, name FROM issuance_profile")?,
            keys: keys.into_iter().filter_map(StoredKey::from_row).collect(),
            key_files: installation.key_files()?,
            events: counts("SELECT event_type, COALESCE(subject, '') FROM event_log")?,
            audit: counts("SELECT operation, resource FROM audit_log WHERE result = 'done'")?,
            listed: set("SELECT serial_number FROM va_revoked")?,
            leftovers,
        })
    }

    fn has_event(&self, event_type: &str, subject: &str) -> bool {
        let key = (event_type.to_owned(), subject.to_owned());
        self.events.contains_key(&key)
    }

    /// Every acknowledged change is there.
    fn acknowledged(&self, ledger: &Ledger, found: &mut Findings) {
        found.missing("answered but not stored", &ledger.certificates, |serial| {
            self.certificates.contains_key(serial)
        });
        found.missing("revocation lost", &ledger.revoked, |serial| {
            self.certificates.get(serial).map(String::as_str) == Some("REVOKED")
        });
        found.missing("device lost", &ledger.registered, |device| {
            self.devices.contains_key(device)
        });
        found.missing("CA lost", &ledger.authorities, |ca| {
            self.authorities.contains(ca)
        });
        let has_key = |id: &str| self.keys.iter().any(|key| key.id == id);
        found.missing("key lost", &ledger.keys, has_key);
        found.missing("deleted key is back", &ledger.deleted_keys, |id| {
            !has_key(id)
        });
        for (device, answered) in &ledger.enrolled {
            let active = self.devices.get(device);
            let is_right = match answered {
                Some(serial) => active == Some(serial),
                None => active.is_some_and(|active| !active.is_empty()),
            };
            if !is_right {
                found
                    .0
                    .push(format!("{device}: answered {answered:?}, has {active:?}"));
            }
        }
        for (profile, number) in &ledger.profiles {
            let name = self.profiles.get(profile);
            let stored = name.and_then(|name| name.parse::<u64>().ok());
            // The update that was not answered may have happened.
            if stored != Some(*number) && stored != Some(number + 1) {
                found.0.push(format!(
                    "profile {profile}: answered {number}, has {name:?}"
                ));
            }
        }
    }

    /// No change is there in part.
    fn whole(&self, found: &mut Findings) {
        for serial in self.certificates.keys() {
            let subject = format!("certificate/{serial}");
            if !self.has_event("ca.sign.certificate", &subject) {
                found.0.push(format!("certificate without event: {serial}"));
            }
            let record = ("ca.sign.certificate".to_owned(), subject);
            if !self.audit.contains_key(&record) {
                found
                    .0
                    .push(format!("certificate without audit record: {serial}"));
            }
        }
        let revoked = self
            .certificates
            .iter()
            .filter(|(_, status)| *status == "REVOKED")
            .map(|(serial, _)| serial);
        found.missing("revoked without event", revoked, |serial| {
            self.has_event(STATUS_UPDATE, &format!("certificate/{serial}"))
        });
        found.missing("identity without certificate", &self.bound, |serial| {
            self.certificates.contains_key(serial)
        });
        for (device, serial) in &self.devices {
            if !self.has_event("device.create", &format!("device/{device}")) {
                found.0.push(format!("device without event: {device}"));
            }
            if device.starts_with("device-") && serial.is_empty() {
                found
                    .0
                    .push(format!("enrolled device without certificate: {device}"));
            }
        }
        for ca in &self.authorities {
            if !self.has_event("ca.create", &format!("ca/{ca}")) {
                found.0.push(format!("CA without event: {ca}"));
            }
        }
        for (event_type, subject) in self.events.keys() {
            let (_, id) = subject.split_once('/').unwrap_or_default();
            let is_there = match event_type.as_str() {
                "ca.sign.certificate" => self.certificates.contains_key(id),
                "device.create" => self.devices.contains_key(id),
                "ca.create" => self.authorities.contains(id),
                "kms.create" => {
                    self.has_event("kms.delete", subject)
                        || self.keys.iter().any(|key| key.id == id)
                }
                _ => true,
            };
            if !is_there {
                found
                    .0
                    .push(format!("event without row: {event_type} {subject}"));
            }
        }
    }

    /// Every event was told once and took effect once.
    fn once(&self, ledger: &Ledger, found: &mut Findings) {
        let exactly = |told: &BTreeMap<(String, String), usize>, what: &str, subject: String| {
            let key = (what.to_owned(), subject);
            told.get(&key).copied().unwrap_or_default()
        };
        for serial in &ledger.revoked {
            let subject = format!("certificate/{serial}");
            let events = exactly(&self.events, STATUS_UPDATE, subject.clone());
            let records = exactly(&self.audit, STATUS_UPDATE, subject);
            if (events, records) != (1, 1) {
                found.0.push(format!(
                    "revocation of {serial}: {events} events, {records} audit records"
                ));
            }
        }
        for (device, versions) in &self.versions {
            let bound = exactly(
                &self.events,
                "dms.bind-device-id",
                format!("device/{device}"),
            );
            if bound.to_string() != *versions {
                found.0.push(format!(
                    "{device}: {versions} identities, bound {bound} times"
                ));
            }
        }
        let at_line = |what: &str| exactly(&self.events, what, "dms/line".to_owned());
        let (enrolled, renewed) = (at_line("dms.enroll"), at_line("dms.reenroll"));
        if enrolled + renewed != self.bound.len() {
            found.0.push(format!(
                "{} identities, {enrolled} enrollments and {renewed} renewals told",
                self.bound.len()
            ));
        }
        // The load does nothing to a certificate's status but to end it.
        const SINGULAR: [&str; 6] = [
            STATUS_UPDATE,
            "ca.sign.certificate",
            "device.create",
            "ca.create",
            "kms.create",
            "kms.delete",
        ];
        for ((event_type, subject), n) in &self.events {
            if *n > 1 && SINGULAR.contains(&event_type.as_str()) {
                found
                    .0
                    .push(format!("{event_type} {subject} was told {n} times"));
            }
        }
        let revoked =
            |serial: &str| self.certificates.get(serial).map(String::as_str) == Some("REVOKED");
        found.missing("listed and not revoked", &self.listed, revoked);
        let all_revoked = self.certificates.keys().filter(|serial| revoked(serial));
        found.missing("revoked and not listed", all_revoked, |serial| {
            self.listed.contains(serial)
        });
        found.0.extend(self.leftovers.iter().cloned());
    }

    /// Nothing is left that nobody has.
    fn no_orphans(&self, found: &mut Findings) {
        let active: BTreeSet<&str> = self.devices.values().map(String::as_str).collect();
        found.missing("undelivered and valid", &self.valid_enrolled, |serial| {
            active.contains(serial)
        });
        let handles: BTreeSet<&str> = self.keys.iter().map(|key| key.handle.as_str()).collect();
        found.missing("key file without row", &self.key_files, |file| {
            handles.contains(file)
        });
        for key in &self.keys {
            let StoredKey {
                handle,
                state,
                name,
                is_used,
                ..
            } = key;
            if state != "ready" {
                found.0.push(format!("key {handle} is {state}"));
            }
            if !self.key_files.contains(handle) {
                found.0.push(format!("key row without file: {handle}"));
            }
            if !name.starts_with("load-") && !is_used {
                found.0.push(format!("key of no CA: {handle} {name}"));
            }
        }
    }
}

impl StoredKey {
    fn from_row(row: Vec<String>) -> Option<Self> {
        let [handle, state, id, name, metadata] = <[String; 5]>::try_from(row).ok()?;
        Some(Self {
            handle,
            state,
            id,
            name,
            is_used: metadata.contains("binded-resources"),
        })
    }
}

fn pair(row: Vec<String>) -> Option<(String, String)> {
    let [first, second] = <[String; 2]>::try_from(row).ok()?;
    Some((first, second))
}
