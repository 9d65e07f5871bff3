//! The conventions of lists, over the lists of VA roles.

use lamassu_core::query::{Field, QueryLimits};
use lamassu_db::{WriteSet, params, sql};
use lamassu_http::Routes;
use lamassu_testing::lists::{self, ListOf};
use lamassu_va::ROLE_FIELDS;
use time::Duration;

use crate::support::{World, routes_of};

/// The path of the SDK, which leaves the number of the CRL out, and ours.
const PATHS: [&str; 2] = ["/v1/roles", "/roles"];

fn shown(field: &Field) -> Option<String> {
    lists::by_name(field)
}

fn shown_without_number(field: &Field) -> Option<String> {
    lists::by_name(field).filter(|_| field.name != "latest_crl.version")
}

type AnyRoutes<'a> = &'a (dyn Fn(QueryLimits) -> Routes + Send + Sync);

fn roles<'a>(routes: AnyRoutes<'a>, path: &'a str) -> ListOf<'a> {
    ListOf {
        routes,
        path,
        name: "/ca_ski",
        fields: ROLE_FIELDS,
        shown: if path == "/roles" {
            shown_without_number
        } else {
            shown
        },
    }
}

/// Roles of so many roots; the first one has a second CRL.
async fn filled(n: usize) -> World {
    let world = World::running().await;
    let first = world.root("root-00").await;
    world.settle().await;
    for index in 1..n {
        if index % 2 == 0 {
            world.clock.advance(Duration::seconds(1));
        }
        world.root(&format!("root-{index:02}")).await;
    }
    let issued = world.issue(&first, "device-1").await;
    world.settle().await;
    world.clock.advance(Duration::seconds(1));
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    world
}

#[tokio::test]
async fn filters_and_sorts_of_every_field_go_by_what_roles_show() {
    let world = filled(4).await;
    let routes = routes_of(&world.va, &world.clock).await;
    for path in PATHS {
        roles(&routes, path).check_filters_of_every_field().await;
        roles(&routes, path).check_sorts_of_every_field().await;
    }
}

#[tokio::test]
async fn queries_for_roles_are_refused_or_ignored_as_everywhere() {
    let world = filled(2).await;
    let routes = routes_of(&world.va, &world.clock).await;
    for path in PATHS {
        roles(&routes, path).check_refusals().await;
        roles(&routes, path).check_what_is_ignored().await;
    }
}

#[tokio::test]
async fn roles_come_in_pages() {
    let world = filled(30).await;
    let routes = routes_of(&world.va, &world.clock).await;
    for path in PATHS {
        let list = roles(&routes, path);
        list.check_page_sizes().await;
        list.check_runs(&[
            "",
            "sort_by=ca_ski&sort_mode=desc",
            "sort_by=latest_crl.valid_until",
        ])
        .await;
        list.check_bookmarks(&[]).await;
    }
}

#[tokio::test]
async fn roles_that_come_and_go_between_pages_move_no_other() {
    for sort in [
        "sort_by=ca_ski",
        "sort_by=latest_crl.version&sort_mode=desc",
        "",
    ] {
        let world = filled(8).await;
        let routes = routes_of(&world.va, &world.clock).await;
        let remove = async |ski: String| {
            let mut set = WriteSet::new();
            set.execute(sql("DELETE FROM va_role WHERE ca_ski = $1", params![ski]));
            world.db.commit(set).await.unwrap();
        };
        let mut n = 0;
        roles(&routes, "/v1/roles")
            .check_changes_between_pages(sort, remove, async || {
                n += 1;
                world.root(&format!("new-{n}")).await;
                world.catch_up().await;
            })
            .await;
    }
}
