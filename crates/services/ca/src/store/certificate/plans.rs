//! The indexes are there, and the databases use them: for the first page and for those behind.

use std::sync::Arc;

use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::ids::{CaId, ProfileId};
use lamassu_core::query::{ListRequest, QueryLimits};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{Restriction, explain, explain_statement, list};
use lamassu_db::{Db, Dialect, WriteSet, params, sql};
use lamassu_testing::TestDatabase;
use time::{Duration, OffsetDateTime};

use super::due::{due_at, earliest, expiring_at};
use super::index::not_indexed;
use super::{CertificateId, TABLE, add_texts, revoked_behind};
use crate::query::{expiring, issued_by, soonest_first, with_status};
use crate::store::{SCHEMA, authority};

pub(super) async fn fresh() -> (TestDatabase, Db) {
    let clock = Arc::new(ManualClock::at(OffsetDateTime::UNIX_EPOCH));
    let database = TestDatabase::fresh();
    let db = database.open(&(clock as SharedClock)).await;
    db.migrate(SCHEMA).await.unwrap();
    (database, db)
}

/// Twenty thousand certificates, each with a number, a key, a fingerprint and a name of its own; of
/// what several share, few share what is looked for.
pub(super) async fn fill(db: &Db) {
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let mut set = WriteSet::new();
    set.execute(sql(
        format!(
            "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
             certificate_type, engine_id, is_ca, subject_common_name, \
             subject_common_name_folded, subject_key_id, authority_key_id, key_type, key_bits, \
             key_strength, key_usage, extended_key_usage, valid_from, valid_to, issuer_ca_id, \
             issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason, \
             next_due, next_window, expired_by_job, profile_id, fingerprint) {numbers} \
             SELECT 'id' || CAST(i AS TEXT), CAST(100000 + i AS TEXT), 1, i * 1000, \
             CAST('d' AS BYTEA), CASE WHEN i % 200 = 7 THEN 'REVOKED' \
             WHEN i / 200 % 2 = 1 AND i % 4 = 2 THEN 'INACTIVE' ELSE 'ACTIVE' END, \
             CASE i % 200 WHEN 8 THEN 'IMPORTED_WITHOUT_KEY' ELSE 'MANAGED' END, '', \
             i % 100 = 9, 'Name' || CAST(i AS TEXT), 'name' || CAST(i AS TEXT), \
             'key' || CAST(i AS TEXT), '', 'RSA', 1, 'LOW', '[]', '[]', i * 1000, \
             CASE WHEN i % 3 = 0 THEN 99000000 ELSE i * 2000 END, 'ca' || CAST(i % 200 AS TEXT), \
             '00', 0, CASE i % 200 WHEN 7 THEN i * 1000 ELSE 0 END, \
             CASE i % 200 WHEN 7 THEN 'KeyCompromise' ELSE 'Unspecified' END, i * 2000, i * 1500, \
             $1, 'profile' || CAST(i % 200 AS TEXT), 'print' || CAST(i AS TEXT) FROM n"
        ),
        params![false],
    ));
    set.execute(sql(
        format!(
            "INSERT INTO certificate_san (certificate_id, value, value_folded) {numbers} \
             SELECT 'id' || CAST(i AS TEXT), 'Name' || CAST(i AS TEXT), 'name' || CAST(i AS TEXT) \
             FROM n"
        ),
        params![],
    ));
    if db.dialect() == Dialect::Postgres {
        // What autovacuum does: what has been added lies beside the index until then.
        for index in ["certificate_text", "certificate_serial_text"] {
            set.execute(sql(
                format!("SELECT gin_clean_pending_list('{index}')"),
                params![],
            ));
        }
    }
    set.execute(sql("ANALYZE certificate", params![]));
    set.execute(sql("ANALYZE certificate_san", params![]));
    db.commit(set).await.unwrap();
    add_all_texts(db).await;
}

/// What the job does by and by.
pub(super) async fn add_all_texts(db: &Db) {
    while let Some(set) = add_texts(db).await.unwrap() {
        db.commit(set).await.unwrap();
    }
}

/// Whether rows may be sorted: where there are hardly more than one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sorted {
    Few,
    Never,
}

/// A plan goes over the whole table, or sorts all rows that it finds. Rows that are equal in the
/// order may be sorted by their keys.
fn is_slow(plan: &str, sorted: Sorted) -> bool {
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(number, line)| {
        let whole = line.contains("Seq Scan")
            || (line.contains("SCAN certificate") && !line.contains("INDEX"));
        let ties = lines
            .get(number + 1)
            .is_some_and(|next| next.starts_with("Sort Key: id"));
        let sort = line.contains("TEMP B-TREE FOR ORDER BY")
            || (line.contains("Sort  (") && !line.contains("Incremental Sort") && !ties);
        whole || (sort && sorted == Sorted::Never)
    })
}

async fn check(
    db: &Db,
    (query, restrictions): (&str, &[Restriction]),
    index: &str,
    sorted: Sorted,
) {
    let mut request = ListRequest::parse(query, TABLE.fields, QueryLimits::default()).unwrap();
    if restrictions == expiring(at(1_000_000), at(9_000_000)) {
        request = soonest_first(&request);
    }
    let page = list(db, &TABLE, "test", &request, restrictions)
        .await
        .unwrap();
    let mut asked = vec![request.clone()];
    if sorted == Sorted::Never {
        assert_ne!(page.next, "", "{query}: there is one page only");
        asked.push(ListRequest {
            bookmark: Some(page.next),
            ..request
        });
    }
    for request in asked {
        let plan = explain(db, &TABLE, "test", &request, restrictions)
            .await
            .unwrap();
        assert!(plan.contains(index), "{query}: {plan}");
        assert!(!is_slow(&plan, sorted), "{query}: {plan}");
        if request.bookmark.is_some() {
            let begins = ["SEARCH certificate", "Index Cond"];
            assert!(
                begins.iter().any(|begins| plan.contains(begins)),
                "{query}: {plan}"
            );
        }
    }
}

fn at(micros: i64) -> Timestamp {
    Timestamp(OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros))
}

#[tokio::test]
async fn single_certificates_are_found_by_index() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    let [names, numbers] = match db.dialect() {
        // The index has been asked beforehand, and gave the rows.
        Dialect::Sqlite => ["USING INTEGER PRIMARY KEY (rowid=?)"; 2],
        Dialect::Postgres => ["certificate_text", "certificate_serial_text"],
    };
    for (filter, index) in [
        ("serial_number[equal]100777", "certificate_serial"),
        ("serial_number[eq_ic]100777", "certificate_serial"),
        ("subject_key_id[equal]key777", "certificate_subject_key"),
        ("fingerprint[equal]print777", "certificate_fingerprint"),
        ("fingerprint[eq_ic]PRINT777", "certificate_fingerprint"),
        (
            "subject.common_name[equal]Name777",
            "certificate_common_name",
        ),
        (
            "subject.common_name[eq_ic]NAME777",
            "certificate_common_name",
        ),
        ("subject.common_name[contains]ame777", names),
        ("subject.common_name[contains_ignorecase]AME777", names),
        ("serial_number[contains]00777", numbers),
        ("serial_number[ct_ic]00777", numbers),
        ("san[contains]Name777", "certificate_san_value"),
        ("san[contains_ignorecase]NAME777", "certificate_san_folded"),
    ] {
        check(&db, (&format!("filter={filter}"), &[]), index, Sorted::Few).await;
    }
}

#[tokio::test]
async fn pages_of_many_certificates_are_found_by_index() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    for (query, index) in [
        ("", "certificate_created"),
        ("filter=status[equal]REVOKED", "certificate_status"),
        ("filter=issuer_meta.id[equal]ca5", "certificate_issuer"),
        (
            "filter=type[equal]IMPORTED_WITHOUT_KEY",
            "certificate_of_type",
        ),
        (
            "filter=revocation_reason[equal]KeyCompromise",
            "certificate_reason",
        ),
        ("filter=is_ca[equal]true", "certificate_ca"),
        ("sort_by=valid_from", "certificate_valid_from"),
        (
            "sort_by=valid_from&sort_mode=desc",
            "certificate_valid_from",
        ),
        ("sort_by=valid_to", "certificate_valid_to"),
        (
            "sort_by=valid_to&sort_mode=desc",
            "certificate_valid_to_down",
        ),
        ("sort_by=revocation_timestamp", "certificate_revocation"),
        (
            "sort_by=revocation_timestamp&sort_mode=desc",
            "certificate_revocation_down",
        ),
        ("sort_by=subject.common_name", "certificate_common_name"),
        ("sort_by=serial_number", "certificate_serial"),
        (
            "filter=status[equal]REVOKED&sort_by=valid_from&sort_mode=desc",
            "certificate_status_valid_from",
        ),
        (
            "filter=issuer_meta.id[equal]ca5&sort_by=valid_from&sort_mode=desc",
            "certificate_issuer_valid_from",
        ),
    ] {
        check(&db, (query, &[]), index, Sorted::Never).await;
    }
    // What bulk revocation goes through.
    let issued_under = [Restriction::Is("profile_id", "profile5".into())];
    check(
        &db,
        ("", &issued_under),
        "certificate_profile",
        Sorted::Never,
    )
    .await;
    let ca = CaId::from("ca10".to_owned());
    let of_status = [issued_by(&ca), with_status("INACTIVE")];
    check(
        &db,
        ("", &of_status),
        "certificate_issuer_status",
        Sorted::Few,
    )
    .await;
    let ending = expiring(at(1_000_000), at(9_000_000));
    check(&db, ("", &ending), "certificate_valid_to", Sorted::Never).await;
}

#[tokio::test]
async fn cas_are_counted_without_a_look_at_all_certificates() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate_authority (id, revision, created_at, certificate_id, level, \
         profile_id, metadata) \
         SELECT issuer_ca_id, 1, created_at, id, 0, '', '{}' FROM certificate \
         WHERE created_at <= 20000",
        params![],
    ));
    set.execute(sql("ANALYZE certificate_authority", params![]));
    db.commit(set).await.unwrap();
    for column in ["status", "engine_id"] {
        let statement = sql(
            format!(
                "SELECT COUNT(*) AS n, {column} AS value FROM certificate_authority_entry \
                 GROUP BY {column}"
            ),
            params![],
        );
        let plan = explain_statement(&db, &statement).await.unwrap();
        assert!(
            !plan.contains("SCAN c") && !plan.contains("Seq Scan on certificate c"),
            "{column}: {plan}"
        );
    }
}

/// A view that begins with the CAs would go through all of them.
#[tokio::test]
async fn cas_are_found_by_what_their_certificates_say() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate_authority (id, revision, created_at, certificate_id, level, \
         profile_id, metadata) \
         SELECT 'authority' || id, 1, created_at, id, 0, '', '{}' FROM certificate WHERE is_ca",
        params![],
    ));
    set.execute(sql("ANALYZE certificate_authority", params![]));
    db.commit(set).await.unwrap();
    let row = db.row_opt(sql(
        "SELECT id FROM certificate WHERE id = 'id509'",
        params![],
    ));
    let certificate = CertificateId::of_row(&row.await.unwrap().unwrap(), "id").unwrap();
    let ids = [CaId::from("ca109".to_owned())];
    let key = match db.dialect() {
        Dialect::Sqlite => "SEARCH c USING INDEX sqlite_autoindex_certificate_1",
        Dialect::Postgres => "certificate_pkey on certificate c",
    };
    for (statement, index) in [
        (authority::of_profile(&ProfileId::default(), 10), key),
        (
            authority::of_certificate(&certificate),
            // PostgreSQL goes through few CAs.
            "certificate_authority",
        ),
        (
            authority::of_common_name("Name509"),
            "certificate_ca_common_name",
        ),
        (
            authority::of_subject_key("key509"),
            "certificate_subject_key",
        ),
        (authority::of_issuers(&ids), "certificate_ca_issuer"),
    ] {
        let plan = explain_statement(&db, &statement).await.unwrap();
        assert!(plan.contains(index), "{}: {plan}", statement.text());
        assert!(
            !plan.contains("SCAN a") && !plan.contains("Seq Scan on certificate c"),
            "{}: {plan}",
            statement.text()
        );
    }
}

#[tokio::test]
async fn what_is_due_and_what_is_revoked_is_found_by_index() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    let [ends, begins] = earliest();
    let now = at(1_000_000).0;
    for (statement, index) in [
        (due_at(now, 256), "certificate_due"),
        (expiring_at(now, 256), "certificate_window"),
        (ends, "certificate_due"),
        (begins, "certificate_window"),
        (
            revoked_behind(&CaId::from("ca7".to_owned()), None, 1_000),
            "certificate_revoked",
        ),
        // By whichever of two.
        (not_indexed(500), "certificate_"),
    ] {
        let plan = explain_statement(&db, &statement).await.unwrap();
        assert!(plan.contains(index), "{}: {plan}", statement.text());
        assert!(
            !is_slow(&plan, Sorted::Never),
            "{}: {plan}",
            statement.text()
        );
    }
}
