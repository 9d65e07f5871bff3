//! Unknown paths, other spellings of known ones, and tables that do not fit together.

use std::sync::Arc;

use axum::Router;
use http::{Method, StatusCode};
use lamassu_core::permission::Permission;
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{Access, Json200, PathForm, PathParams, Reply, RouteTableError, Routes, Stack};
use tokio_util::task::TaskTracker;

use crate::support::{ask, router};

async fn echo(PathParams(id): PathParams<String>) -> Reply<Json200<String>> {
    Ok(Json200(id))
}

async fn list() -> &'static str {
    "list"
}

const READ: Permission = Permission::new("ca", "read");

fn sample() -> Routes {
    Routes::builder("sample", ())
        .get("/v1/cas", READ, "List", list)
        .get("/v1/cas/import", READ, "A static segment", list)
        .get("/v1/cas/{id}", READ, "One", echo)
        .post(
            "/v1/cas/{id}/reissue",
            Permission::new("ca", "reissue"),
            "Reissue",
            echo,
        )
        .get("/crl/{id}", Access::Public, "CRL", echo)
        .path_form(PathForm::Raw)
        .get("/ocsp/{*request}", Access::Public, "OCSP", echo)
        .build()
}

#[tokio::test]
async fn every_spelling_of_a_path_is_answered_as_clients_know_it() {
    use StatusCode as S;
    let router = router(&sample());
    let cases = [
        (Method::GET, "/v1/cas", S::OK, None),
        (
            Method::GET,
            "/v1/cas/",
            S::MOVED_PERMANENTLY,
            Some("/v1/cas"),
        ),
        (
            Method::GET,
            "/v1/cas/?a=%20b",
            S::MOVED_PERMANENTLY,
            Some("/v1/cas?a=%20b"),
        ),
        (
            Method::POST,
            "/v1/cas/a/reissue/",
            S::TEMPORARY_REDIRECT,
            Some("/v1/cas/a/reissue"),
        ),
        (Method::POST, "/v1/cas/", S::NOT_FOUND, None),
        (
            Method::POST,
            "/v1/cas//reissue?x=1",
            S::TEMPORARY_REDIRECT,
            Some("/v1/cas/reissue?x=1"),
        ),
        (
            Method::GET,
            "/v1/./cas",
            S::TEMPORARY_REDIRECT,
            Some("/v1/cas"),
        ),
        (
            Method::GET,
            "/v1/cas/./reissue",
            S::TEMPORARY_REDIRECT,
            Some("/v1/cas/reissue"),
        ),
        (Method::DELETE, "/v1/cas", S::NOT_FOUND, None),
        (Method::HEAD, "/v1/cas", S::NOT_FOUND, None),
        (Method::TRACE, "/v1/cas", S::NOT_FOUND, None),
        (Method::OPTIONS, "/v1/cas", S::NOT_FOUND, None),
        (Method::GET, "/v1/nothing", S::NOT_FOUND, None),
        (Method::GET, "/v1/cas/a/b/c", S::NOT_FOUND, None),
        (Method::GET, "/ocsp/MEUw//a/../b/", S::OK, None),
        (Method::GET, "/ocsp//MEUw%2Fa", S::OK, None),
    ];
    for (method, path, status, location) in cases {
        let answer = ask(
            &router,
            method.clone(),
            &format!("/api/sample{path}"),
            "admin",
        )
        .await;
        assert_eq!(answer.status, status, "{method} {path}");
        let expected = location.map(|location| format!("/api/sample{location}"));
        assert_eq!(
            answer.header("location"),
            expected.as_deref(),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), None, "{method} {path}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_plain_text_as_go_clients_know_it() {
    let answer = ask(
        &router(&sample()),
        Method::GET,
        "/api/sample/v1/nothing",
        "admin",
    )
    .await;
    assert_eq!(answer.text(), "404 page not found");
    assert_eq!(answer.header("content-type"), Some("text/plain"));
}

#[tokio::test]
async fn what_exists_is_not_told_before_authentication() {
    let router = router(&sample());
    for path in ["/v1/cas", "/v1/cas/", "/v1/nothing", "/v1/nothing/"] {
        let answer = ask(&router, Method::GET, &format!("/api/sample{path}"), "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let public = ask(&router, Method::GET, "/api/sample/crl/a/", "").await;
    assert_eq!(public.header("location"), Some("/api/sample/crl/a"));
}

#[tokio::test]
async fn path_parameters_are_decoded_and_may_hold_an_encoded_slash() {
    let router = router(&sample());
    for (path, expected) in [
        ("/v1/cas/a%2Fb%20c", "\"a/b c\""),
        ("/v1/cas/%e4%bd%a0", "\"你\""),
        ("/ocsp/MEUw%2F+a=", "\"MEUw/+a=\""),
        ("/v1/cas/import", "list"),
    ] {
        let answer = ask(&router, Method::GET, &format!("/api/sample{path}"), "admin").await;
        assert_eq!(answer.text(), expected, "{path}");
    }
    let invalid = ask(&router, Method::GET, "/api/sample/v1/cas/%ff", "admin").await;
    assert_eq!(invalid.status, StatusCode::BAD_REQUEST);
    assert_eq!(invalid.json()["err"], "invalid path parameter");
}

#[tokio::test]
async fn a_table_is_served_under_several_prefixes_and_a_site_beside_it() {
    let site = Router::new().fallback(|| async { "console" });
    let router = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new())
        .mount("/api/sample", &sample())
        .mount("", &sample())
        .site(site)
        .build()
        .unwrap();
    for (path, status, text) in [
        ("/api/sample/v1/cas", StatusCode::OK, "list"),
        ("/v1/cas", StatusCode::OK, "list"),
        ("/", StatusCode::OK, "console"),
        ("/assets/app.js", StatusCode::OK, "console"),
        ("/api/other", StatusCode::NOT_FOUND, "404 page not found"),
        ("/v1/other", StatusCode::NOT_FOUND, "404 page not found"),
    ] {
        let answer = ask(&router, Method::GET, path, "admin").await;
        assert_eq!((answer.status, answer.text()), (status, text), "{path}");
    }
}

fn refusal(paths: &[(Method, &'static str)]) -> RouteTableError {
    let routes = paths
        .iter()
        .fold(Routes::builder("sample", ()), |routes, (method, path)| {
            routes.route(method.clone(), path, READ, "Sample", list)
        })
        .build();
    Stack::new(Arc::new(TokenNamesRole), TaskTracker::new())
        .mount("", &routes)
        .build()
        .unwrap_err()
}

#[test]
fn tables_that_do_not_fit_together_are_refused_at_start() {
    let cases: [(&[(Method, &str)], &str); 4] = [
        (
            &[(Method::GET, "/a"), (Method::GET, "/a")],
            "route GET /a is declared twice",
        ),
        (&[(Method::GET, "a")], "route a: a path starts with a slash"),
        (
            &[(Method::GET, "/a/{b")],
            "route /a/{b does not fit into the table",
        ),
        (
            &[(Method::GET, "/a/{b}"), (Method::POST, "/a/{c}")],
            "route /a/{c} does not fit into the table",
        ),
    ];
    for (paths, expected) in cases {
        assert_eq!(refusal(paths).to_string(), expected);
    }
}

#[tokio::test]
async fn nul_in_a_path_parameter_is_refused_by_name() {
    let router = router(&sample());
    let answer = ask(&router, Method::GET, "/api/sample/v1/cas/a%00b", "admin").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.json()["err"],
        "path parameter id holds the character U+0000, which cannot be stored"
    );
    // An escaped percent sign is a percent sign.
    let answer = ask(&router, Method::GET, "/api/sample/v1/cas/a%2500b", "admin").await;
    assert_eq!(answer.status, StatusCode::OK);
}
