//! The conventions of lists, over the list of DMSs.

use lamassu_db::{WriteSet, params, sql};
use lamassu_dms::DMS_FIELDS;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{World, dms};

fn list(world: &World) -> ListOf<'_> {
    ListOf {
        routes: &world.routes,
        path: "/v1/dms",
        name: "/id",
        fields: DMS_FIELDS,
        shown: |field| match field.name {
            "creation_date" => Some("/creation_ts".to_owned()),
            _ => lists::by_name(field),
        },
    }
}

/// So many DMSs, the first one with the document, one with keys of its own making.
async fn filled(n: usize) -> World {
    let world = World::new().await;
    for index in 0..n {
        add(&world, index).await;
        if index % 2 == 0 {
            world.clock.advance(Duration::seconds(1));
        }
    }
    world
}

async fn add(world: &World, index: usize) {
    let name = ["Straße", "alpha", "Alpha", "=beta, [x]"][index % 4];
    let mut body = dms(&format!("dms-{index:02}"), &json!({}), &json!({}));
    body["name"] = json!(name);
    match index {
        0 => body["metadata"] = lists::document(),
        1 => {
            body["settings"]["server_keygen_settings"] =
                json!({"enabled": true, "key": {"type": "RSA", "bits": 3072}});
        }
        _ => {}
    }
    world.created(body).await;
}

async fn remove(world: &World, id: String) {
    // There is no route for this; only the list is of interest here.
    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM dms WHERE id = $1", params![id]));
    world.db.commit(set).await.unwrap();
}

#[tokio::test]
async fn filters_and_sorts_of_every_field_go_by_what_dmss_show() {
    let world = filled(5).await;
    list(&world).check_filters_of_every_field().await;
    list(&world).check_sorts_of_every_field().await;
}

#[tokio::test]
async fn predicates_look_into_metadata_and_settings() {
    let world = filled(4).await;
    list(&world).check_predicates("metadata", "dms-00").await;
    list(&world).check_path_sorts("metadata", "dms-00").await;
    let all = "dms-00 dms-01 dms-02 dms-03";
    let settings = |path: &str| format!("settings[jsonpath]{path}");
    list(&world)
        .check_filters(&[
            (
                &settings("$.server_keygen_settings.key.bits >= 2048"),
                "dms-01",
            ),
            (
                &settings(r#"$.enrollment_settings.enrollment_ca == "fleet""#),
                all,
            ),
            (
                &settings(r#"$.enrollment_settings.registration_mode != "JITP""#),
                "",
            ),
            (&settings(r#"$.**.validation_cas == "boot""#), all),
            (&settings("exists($.nothing)"), ""),
        ])
        .await;
    let by_bits = "sort_by=settings[jsonpath]$.server_keygen_settings.key.bits";
    list(&world)
        .check(&[
            (&format!("{by_bits}&page_size=1&sort_mode=desc"), "dms-01"),
            (
                &format!("{by_bits}&filter=id[in]dms-01,dms-03"),
                "dms-03 dms-01",
            ),
        ])
        .await;
}

#[tokio::test]
async fn queries_for_dmss_are_refused_or_ignored_as_everywhere() {
    let world = filled(2).await;
    list(&world).check_refusals().await;
    list(&world).check_what_is_ignored().await;
}

#[tokio::test]
async fn dmss_come_in_pages() {
    let world = filled(30).await;
    list(&world).check_page_sizes().await;
    list(&world)
        .check_runs(&[
            "",
            "sort_by=name&sort_mode=desc",
            "sort_by=creation_ts&sort_mode=desc",
            "sort_by=settings",
            "sort_by=metadata&filter=name[ct_ic]A",
        ])
        .await;
    list(&world).check_bookmarks(&[]).await;
}

#[tokio::test]
async fn dmss_that_come_and_go_between_pages_move_no_other() {
    for sort in [
        "sort_by=id&sort_mode=asc",
        "sort_by=name&sort_mode=desc",
        "",
    ] {
        let world = filled(9).await;
        let mut n = 50;
        list(&world)
            .check_changes_between_pages(
                sort,
                async |id| remove(&world, id).await,
                async || {
                    n += 1;
                    add(&world, n).await;
                },
            )
            .await;
    }
}

#[tokio::test]
async fn statistics_of_dmss_take_the_same_filters() {
    let world = filled(5).await;
    let total = |body: &Value| body["total"].as_i64().unwrap();
    list(&world)
        .check_statistics("/v1/stats", "filter", total, &[])
        .await;
}
