//! Each error of the service, met from outside: its status and its text.

use http::Method;
use lamassu_core::query::QueryLimits;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::Value;

use crate::support::{World, get, routes_of};

const ERRORS: &str = include_str!("../../../../core/src/va.rs");
const THIS: &str = include_str!("errors.rs");

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let world = World::new().await;
    let get =
        |path: &str, status: u16, text: &str| asked(Method::GET, path, Value::Null, status, text);
    let failing = "crls_that_cannot_be_made_say_whether_to_come_back";
    let table = [
        (
            "RoleNotFound",
            get("/v1/roles/ab", 404, "VA role not found"),
        ),
        ("CaNotFound", get("/ca/ab", 404, "CA not found")),
        (
            "CrlNotFound",
            Met::Tested(
                include_str!("crl.rs"),
                "unknown_cas_and_cas_without_key_have_no_crl",
                "404, \"CRL not found\"",
            ),
        ),
        (
            "Options",
            Met::Tested(
                include_str!("roles.rs"),
                "options_that_cannot_work_are_refused",
                "struct validation error: validity must be at least 1s",
            ),
        ),
        (
            "CrlRefused",
            Met::Tested(
                include_str!("imports.rs"),
                "what_is_no_crl_of_the_ca_is_refused",
                "400, format!(\"CRL refused: {text}\")",
            ),
        ),
        (
            "CrlsMadeHere",
            Met::Tested(
                include_str!("imports.rs"),
                "the_crls_of_a_ca_with_its_key_are_made_here",
                "409, \"CRLs of this CA are made here\"",
            ),
        ),
        (
            "CrlOutdated",
            Met::Tested(
                include_str!("imports.rs"),
                "a_foreign_crl_is_served_as_it_came_until_a_newer_one_comes",
                "409, \"a CRL with this number or a higher one is there already\"",
            ),
        ),
        (
            "Query",
            get("/v1/roles?bookmark=x", 400, "not a valid bookmark"),
        ),
        (
            "CrlFailed",
            Met::Tested(THIS, failing, "500, \"CRL could not be made\""),
        ),
        (
            "Unavailable",
            Met::Tested(THIS, failing, "503, \"validation data unavailable\""),
        ),
        (
            "Storage",
            Met::Tested(
                THIS,
                "a_closed_database_is_overload",
                "503, \"storage unavailable\"",
            ),
        ),
    ];
    let routes = routes_of(&world.va, &world.clock).await(QueryLimits::default());
    check_table(ERRORS, "VaError", &routes, &table).await;
}

#[tokio::test]
async fn crls_that_cannot_be_made_say_whether_to_come_back() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let path = format!("/crl/{}", ca.ski);
    let away = world.without_kms().await;
    let refused = get(&away, &path, &[]).await;
    assert_eq!(
        refused.refusal(),
        (503, "validation data unavailable".to_owned())
    );
    world.disable_key(&ca).await;
    let refused = world.get(&path).await;
    assert_eq!(refused.refusal(), (500, "CRL could not be made".to_owned()));
}

#[tokio::test]
async fn a_closed_database_is_overload() {
    let world = World::new().await;
    world.db.close().await;
    let refused = world.get("/v1/roles/ab").await;
    assert_eq!(refused.refusal(), (503, "storage unavailable".to_owned()));
}
