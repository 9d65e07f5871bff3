//! Two replicas of everything on one PostgreSQL database: under load, one is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_testing::PostgresServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::plant::DeviceKey;
use crate::support::program::{Options, storage_block};
use crate::support::wait::wait_for;
use crate::support::{Api, Plant, Program};

/// Clients that sign at the same time.
const CLIENTS: usize = 6;
/// Certificates answered before and after the kill.
const ANSWERS: usize = 40;
/// Ids that both replicas are asked to create at the same moment.
const IDS: usize = 8;
/// Certificates that expire while both replicas watch.
const EXPIRING: usize = 5;
/// Seconds from one CRL to the next where they are made by time.
const PERIOD: i64 = 1;
/// CRLs that are waited for then: with one replica at work, and with both.
const PERIODS: i64 = 3;

/// A server, a schema in it, and what replicas share beside it.
struct Cluster {
    server: &'static PostgresServer,
    schema: String,
    config: String,
    _shared: TempDir,
}

impl Cluster {
    fn new() -> Result<Self> {
        let server = PostgresServer::shared();
        let storage = server.fresh_schema();
        let shared = TempDir::new()?;
        let config = format!(
            "gateway: {{metrics: {{listen: null}}}}\n\
             crypto_engines: {{default_id: fs, engines: [{{id: fs, type: filesystem, \
             storage_directory: {0}/keys}}]}}\n\
             filesystem_storage: {{storage_directory: {0}/crl}}\n{1}",
            shared.path().display(),
            storage_block(&storage)
        );
        Ok(Self {
            server,
            schema: storage.schema,
            config,
            _shared: shared,
        })
    }

    fn replica(&self) -> Result<Program> {
        let options = Options {
            config: Some(self.config.clone()),
            ..Options::default()
        };
        Program::start_on(options, None)
    }

    /// Runs statements in one transaction; gives what the last one does.
    fn psql(&self, sql: &str) -> Result<String> {
        let sql = format!("SET search_path = {}; {sql}", self.schema);
        self.server.psql(&sql)
    }

    /// A statement that wakes a job, or those who wait for a lease, in all replicas.
    fn wake(&self, signal: &str) -> String {
        format!(
            r#"SELECT pg_notify('{}', '{{"process": "a test", "wakes": ["{signal}"]}}')"#,
            self.schema
        )
    }

    /// Who holds the lease of the job that makes CRLs.
    fn crl_maker(&self) -> Result<String> {
        self.psql("SELECT holder FROM leases WHERE name = 'job/va-crl'")
    }

    /// Takes that lease from its holder until another one has it.
    fn let_the_other_take_over(&self, holder: &str) -> Result<()> {
        let end = format!(
            "DELETE FROM leases WHERE name = 'job/va-crl' AND holder = '{holder}'; {}",
            self.wake("job/va-crl")
        );
        let process = |holder: &str| holder.rsplit_once('/').map(|(place, _)| place.to_owned());
        wait_for("another CRL maker", Duration::from_secs(60), || {
            self.psql(&end).ok()?;
            let now = self.crl_maker().ok()?;
            (!now.is_empty() && process(&now) != process(holder)).then_some(())
        })
    }

    /// The newest number of the issuing CA's CRLs, 0 before the first.
    fn crl_number(&self) -> Result<i64> {
        let number = "SELECT COALESCE(MAX(crl_number), 0) FROM va_role WHERE ca_id = 'issuing'";
        Ok(self.psql(number)?.parse()?)
    }

    /// Waits for some more CRLs.
    fn let_periods_pass(&self) -> Result<()> {
        let before = self.crl_number()?;
        wait_for("CRLs", Duration::from_secs(60), || {
            (self.crl_number().ok()? >= before + PERIODS).then_some(())
        })
    }

    /// Number and time, in microseconds, of every CRL of the issuing CA that was told.
    fn crls(&self) -> Result<Vec<(i64, i64)>> {
        let told = "SELECT CAST(e.body AS json)->'data'->>'Number', e.occurred_at \
             FROM event_log e JOIN va_role r ON e.subject = 'crl/' || r.ca_ski \
             WHERE e.event_type = 'va.role.crl.create' AND r.ca_id = 'issuing' ORDER BY e.seq";
        let rows = self.server.rows(&self.schema, told)?;
        rows.iter()
            .map(|row| Ok((row[0].parse()?, row[1].parse()?)))
            .collect()
    }

    /// The first column of the first row.
    fn number(&self, select: &str) -> Result<u64> {
        Ok(self.psql(select)?.parse()?)
    }
}

/// Asks one replica and, if that fails, the other one once.
fn ask(first: &Api, second: &Api, path: &str, body: &Value) -> Result<u16> {
    let worked = |api: &Api| {
        let answer = api.call("POST", path, Some(body))?;
        ensure!(answer.status != 503, "{}", answer.body);
        Ok(answer.status)
    };
    worked(first).or_else(|_| worked(second))
}

#[test]
fn a_killed_replica_costs_at_most_one_retry() -> Result<()> {
    let cluster = Cluster::new()?;
    let (mut a, b) = (cluster.replica()?, cluster.replica()?);
    let plant = Plant::set_up(&a)?;
    let (api_a, api_b) = (plant.api.clone(), Api::of(&b)?);
    plant.key_and_csr("load", DeviceKey::P256)?;
    let body = json!({"csr": STANDARD.encode(plant.read("load.csr")?)});
    let path = "ca/v1/cas/issuing/certificates/sign";
    let (answered, failed, stop) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| -> Result<()> {
        for client in 0..CLIENTS {
            let (first, second) = if client % 2 == 0 {
                (&api_a, &api_b)
            } else {
                (&api_b, &api_a)
            };
            let (body, answered, failed, stop) = (&body, &answered, &failed, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match ask(first, second, path, body) {
                        Ok(201) => answered.fetch_add(1, Ordering::Relaxed),
                        Ok(_) | Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
        let more = |n: usize| {
            let wanted = answered.load(Ordering::Relaxed) + n;
            wait_for("answers", Duration::from_secs(60), || {
                (answered.load(Ordering::Relaxed) >= wanted).then_some(())
            })
        };
        let outcome = more(ANSWERS)
            .and_then(|()| a.kill())
            .and_then(|()| more(ANSWERS));
        stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    assert_eq!(failed.load(Ordering::Relaxed), 0, "requests failed twice");
    // Every answer is stored; one more of each client may be, whose answer died with the replica.
    let stored =
        cluster.number("SELECT count(*) FROM certificate WHERE subject_common_name = 'load'")?;
    let answered = u64::try_from(answered.load(Ordering::Relaxed))?;
    let doubt = u64::try_from(CLIENTS)?;
    assert!(
        (answered..=answered + doubt).contains(&stored),
        "{answered} answered, {stored} stored"
    );
    Ok(())
}

#[test]
fn replicas_do_each_thing_once() -> Result<()> {
    let cluster = Cluster::new()?;
    let (a, b) = (cluster.replica()?, cluster.replica()?);
    let plant = Plant::set_up(&a)?;
    let (api_a, api_b) = (&plant.api, &Api::of(&b)?);

    // One answer per id that both are asked to create.
    for n in 0..IDS {
        let device = json!({"id": format!("device-{n}"), "dms_id": "line", "alias": "x"});
        let (mut statuses, text) = std::thread::scope(|scope| -> Result<_> {
            let one = scope.spawn(|| api_a.call("POST", "devmanager/v1/devices", Some(&device)));
            let two = api_b.call("POST", "devmanager/v1/devices", Some(&device))?;
            let one = one.join().ok().context("a thread")??;
            Ok((vec![one.status, two.status], one.body))
        })?;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{text}");
    }

    // One expiry event per certificate, whoever notices.
    let profile = json!({"name": "Short", "validity": {"type": "Duration", "duration": "3s"},
        "honor_subject": true, "key_usage": ["DigitalSignature"], "extended_key_usages": ["ClientAuth"]});
    let profile = plant.api.ok("POST", "ca/v1/profiles", Some(&profile))?;
    plant.key_and_csr("short", DeviceKey::P256)?;
    for _ in 0..EXPIRING {
        plant.sign("issuing", "short", &json!({"profile_id": profile["id"]}))?;
    }
    let expired = "SELECT count(*) FROM certificate \
         WHERE subject_common_name = 'short' AND status = 'EXPIRED'";
    let wanted = u64::try_from(EXPIRING)?;
    wait_for(
        "the certificates to expire",
        Duration::from_secs(30),
        || (cluster.number(expired).ok()? == wanted).then_some(()),
    )?;
    let events = cluster.number(
        "SELECT count(*) FROM event_log e JOIN certificate c \
         ON e.subject = 'certificate/' || c.serial_number \
         WHERE e.event_type = 'certificate.status.update' AND c.subject_common_name = 'short'",
    )?;
    assert_eq!(events, wanted, "one event per certificate");

    // One CRL per change: as many events as the number says, none twice.
    for _ in 0..3 {
        let certificate = plant.sign("issuing", "short", &json!({}))?;
        let serial = certificate["serial_number"].as_str().context("a serial")?;
        let status = json!({"status": "REVOKED", "revocation_reason": "KeyCompromise"});
        api_b.ok(
            "PUT",
            &format!("ca/v1/certificates/{serial}/status"),
            Some(&status),
        )?;
    }
    let settled = "SELECT count(*) FROM va_role r WHERE r.ca_id = 'issuing' AND r.crl_number > 1 \
         AND r.next_due > r.this_update + 60000000";
    wait_for("the CRL", Duration::from_secs(30), || {
        (cluster.number(settled).ok()? == 1).then_some(())
    })?;
    // In one look: the revocations may still make CRLs.
    let too_many = cluster.number(
        "SELECT (SELECT count(*) FROM event_log e WHERE e.subject = 'crl/' || r.ca_ski \
           AND e.event_type = 'va.role.crl.create') - r.crl_number \
         FROM va_role r WHERE r.ca_id = 'issuing'",
    )?;
    assert_eq!(too_many, 0, "one CRL per number");
    assert_eq!(cluster.number("SELECT count(*) FROM dead_letters")?, 0);
    Ok(())
}

/// The job that makes CRLs has a lease, so that usually one replica runs it. Here the lease is taken
/// from the one that has it: until that one notices, within ten seconds, both are at it.
#[test]
fn replicas_make_one_crl_per_period() -> Result<()> {
    let cluster = Cluster::new()?;
    let (a, b) = (cluster.replica()?, cluster.replica()?);
    Plant::set_up(&a)?;
    wait_for("the first CRL", Duration::from_secs(30), || {
        (cluster.crl_number().ok()? > 0).then_some(())
    })?;
    cluster.psql(&format!(
        "UPDATE va_role SET refresh_interval = {PERIOD} * 1000000000, next_due = 0 \
         WHERE ca_id = 'issuing'; {}",
        cluster.wake("va-crl")
    ))?;
    cluster.let_periods_pass()?;
    let first = cluster.crl_maker()?;
    cluster.let_the_other_take_over(&first)?;
    cluster.let_periods_pass()?;
    drop((a, b));

    // What they did is in the log: the times there are theirs, however slow the machine is.
    let crls = cluster.crls()?;
    let numbers: Vec<i64> = crls.iter().map(|(number, _)| *number).collect();
    let all: Vec<i64> = (1..=cluster.crl_number()?).collect();
    assert_eq!(numbers, all, "no number twice, none left out");
    // The first was made with the role, the second because the test said so.
    for pair in crls[1..].windows(2) {
        let apart = pair[1].1 - pair[0].1;
        // The times are those of the commits: one may have waited longer for its than the next.
        assert!(apart >= PERIOD * 900_000, "two in one period: {crls:?}");
    }
    Ok(())
}
