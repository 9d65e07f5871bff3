//! The lists of profiles, of requests for CAs and of jobs.

use http::StatusCode;
use lamassu_ca::{JOB_FIELDS, PROFILE_FIELDS, REQUEST_FIELDS};
use lamassu_db::{WriteSet, params, sql};
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;

use super::text;
use crate::support::{World, device_profile};

/// The lists of this file; all of them name their items by id.
const LISTS: [&str; 3] = ["/v1/profiles", "/v1/cas/requests", "/v1/jobs"];

fn list<'w>(world: &'w World, path: &'w str) -> ListOf<'w> {
    ListOf {
        routes: &world.routes,
        path,
        name: "/id",
        fields: match path {
            "/v1/profiles" => PROFILE_FIELDS,
            "/v1/cas/requests" => REQUEST_FIELDS,
            _ => JOB_FIELDS,
        },
        shown: lists::by_name,
    }
}

/// Adds an item, called like its number as far as it is called.
async fn add(world: &World, path: &str, n: usize) -> String {
    let name = ["Straße", "alpha", "Alpha", "beta"][n % 4];
    let made = match path {
        "/v1/profiles" => {
            let mut profile = device_profile();
            profile["name"] = json!(format!("{name} {}", n / 4));
            world.post(path, profile).await.with(StatusCode::CREATED)
        }
        "/v1/cas/requests" => {
            let document = if n == 0 { lists::document() } else { json!({}) };
            let body = json!({
                "id": format!("request-{n:02}"),
                "subject": { "common_name": name },
                "key_metadata": { "type": "ECDSA", "bits": 256 },
                "metadata": document,
            });
            world.post(path, body).await.with(StatusCode::CREATED)
        }
        _ => {
            let body = json!({ "ca_id": "root-a", "revocation_reason": "Superseded" });
            let answer = world.post("/v1/certificates/revocations", body).await;
            answer.with(StatusCode::ACCEPTED)
        }
    };
    text(&made, "id").to_owned()
}

async fn remove(world: &World, path: &str, id: &str) {
    if path == "/v1/jobs" {
        // Jobs stay; only the list is of interest here.
        let mut set = WriteSet::new();
        set.execute(sql("DELETE FROM ca_job WHERE id = $1", params![id]));
        world.db.commit(set).await.unwrap();
        return;
    }
    let answer = world.delete(&format!("{path}/{id}")).await;
    assert!(answer.status.is_success(), "{}", answer.body);
}

/// A CA (whose profile is the first of its list) and so many items.
async fn filled(path: &str, n: usize) -> World {
    let world = World::new().await;
    world.root("root-a").await;
    for index in 0..n {
        if index % 2 == 0 {
            world.clock.advance(Duration::seconds(1));
        }
        add(&world, path, index).await;
    }
    world
}

#[tokio::test]
async fn filters_and_sorts_of_every_field_go_by_what_items_show() {
    for path in LISTS {
        let world = filled(path, 6).await;
        list(&world, path).check_filters_of_every_field().await;
        list(&world, path).check_sorts_of_every_field().await;
    }
}

#[tokio::test]
async fn predicates_and_path_sorts_look_into_the_metadata_of_requests() {
    let world = filled("/v1/cas/requests", 4).await;
    let requests = list(&world, "/v1/cas/requests");
    requests.check_predicates("metadata", "request-00").await;
    requests.check_path_sorts("metadata", "request-00").await;
}

#[tokio::test]
async fn queries_are_refused_or_ignored_as_everywhere() {
    for path in LISTS {
        let world = filled(path, 2).await;
        list(&world, path).check_refusals().await;
        list(&world, path).check_what_is_ignored().await;
    }
}

#[tokio::test]
async fn items_come_in_pages() {
    let mut foreign = Vec::new();
    for path in LISTS {
        let world = filled(path, 31).await;
        let list = list(&world, path);
        list.check_page_sizes().await;
        list.check_runs(&[
            "",
            "sort_by=id&sort_mode=desc",
            "sort_by=name",
            "sort_by=status",
        ])
        .await;
        // Those of other installations are refused, those of other lists of this one as well.
        world.issue("root-a", "device-1").await;
        let certificates = ListOf {
            path: "/v1/certificates",
            ..self::list(&world, path)
        };
        foreign.push(certificates.bookmark().await);
        list.check_bookmarks(&foreign).await;
        foreign.push(list.bookmark().await);
    }
}

#[tokio::test]
async fn items_that_come_and_go_between_pages_move_no_other() {
    for path in LISTS {
        for sort in ["sort_by=id&sort_mode=asc", "sort_by=id&sort_mode=desc", ""] {
            let world = filled(path, 7).await;
            let mut n = 40;
            let remove = async |id: String| {
                // The CA needs the first profile.
                let of_ca: Value = world.ca("root-a").await["profile_id"].clone();
                if of_ca != json!(id) {
                    remove(&world, path, &id).await;
                }
            };
            list(&world, path)
                .check_changes_between_pages(sort, remove, async || {
                    n += 1;
                    add(&world, path, n).await;
                })
                .await;
        }
    }
}
