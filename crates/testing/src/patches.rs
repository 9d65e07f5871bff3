//! The dialect of JSON Patch, over every resource whose metadata can be patched.

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use lamassu_core::query::QueryLimits;
use lamassu_http::Routes;
use serde_json::{Value, json};

use crate::router::{get, router, send};

/// A resource with metadata.
#[expect(missing_debug_implementations, reason = "holds a function")]
pub struct PatchedAt<'a> {
    /// The service's routes.
    pub routes: &'a (dyn Fn(QueryLimits) -> Routes + Send + Sync),
    /// Where the resource is read.
    pub resource: &'a str,
    /// Where its metadata are patched.
    pub metadata: &'a str,
    /// The same of a resource that there is not, and what is answered there.
    pub unknown: (&'a str, StatusCode, &'a str),
}

/// What a patch makes of a document, or the reason why not.
type Outcome = Result<Value, &'static str>;

/// Documents, patches, outcomes.
fn cases() -> Vec<(Value, Value, Outcome)> {
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    let remove = |path: &str| json!({"op": "remove", "path": path});
    let replace = |path: &str, value: Value| json!({"op": "replace", "path": path, "value": value});
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    vec![
        (json!({"a": 1}), json!([]), Ok(json!({"a": 1}))),
        (
            json!({}),
            json!([add("/owner", json!("team-a"))]),
            Ok(json!({"owner": "team-a"})),
        ),
        (
            json!({"a": 1}),
            json!([add("/a", json!([2]))]),
            Ok(json!({"a": [2]})),
        ),
        (
            json!({"a": 1}),
            json!([add("", json!({"b": null}))]),
            Ok(json!({"b": null})),
        ),
        (json!({"a": 1}), json!([add("", json!({}))]), Ok(json!({}))),
        (
            json!({}),
            json!([add("", json!([1]))]),
            Err("the result is no object"),
        ),
        (
            json!({}),
            json!([add("/a/b/c", json!(false))]),
            Ok(json!({"a": {"b": {"c": false}}})),
        ),
        (
            json!({}),
            json!([add("/a~1b/c~0d", json!(0))]),
            Ok(json!({"a/b": {"c~d": 0}})),
        ),
        (
            json!({}),
            json!([add("/list/-", json!("x"))]),
            Ok(json!({"list": ["x"]})),
        ),
        (
            json!({}),
            json!([add("/list/0", json!("x"))]),
            Ok(json!({"list": ["x"]})),
        ),
        (
            json!({}),
            json!([add("/list/1", json!("x"))]),
            Err("patches[0]: the index is beyond the end of the array"),
        ),
        (
            json!({}),
            json!([
                add("/l", json!([])),
                add("/l/-", json!(1)),
                add("/l/0", json!(0))
            ]),
            Ok(json!({"l": [0, 1]})),
        ),
        (
            json!({"l": [1, 2, 3]}),
            json!([add("/l/1", json!(9))]),
            Ok(json!({"l": [1, 9, 2, 3]})),
        ),
        (
            json!({"l": [1, 2, 3]}),
            json!([remove("/l/-1")]),
            Ok(json!({"l": [1, 2]})),
        ),
        (
            json!({"o": {}}),
            json!([add("/o/0", json!(1))]),
            Ok(json!({"o": {"0": 1}})),
        ),
        (
            json!({"a": 1, "b": 2}),
            json!([remove("/a")]),
            Ok(json!({"b": 2})),
        ),
        (
            json!({"b": 2}),
            json!([remove("/a"), remove("/x/y")]),
            Ok(json!({"b": 2})),
        ),
        (
            json!({"b": 2}),
            json!([remove("")]),
            Err("patches[0]: the whole document cannot be removed"),
        ),
        (
            json!({"a": 1}),
            json!([replace("/a", json!({"n": [null]}))]),
            Ok(json!({"a": {"n": [null]}})),
        ),
        (
            json!({"a": 1}),
            json!([add("/b", json!(1)), replace("/c", json!(1))]),
            Err("patches[1]: there is no value at this path"),
        ),
        (
            json!({}),
            json!([add("/a", Value::Null)]),
            Err("patches[0]: missing value"),
        ),
        (
            json!({"a": 1}),
            json!([replace("/a", Value::Null)]),
            Err("patches[0]: missing value"),
        ),
        (
            json!({}),
            json!([add("a", json!(1))]),
            Err("patches[0]: path does not start with '/'"),
        ),
        (
            json!({}),
            json!([{"op": "add", "value": 1}]),
            Err("patches[0]: missing path"),
        ),
        (
            json!({}),
            json!([{"path": "/a", "value": 1}]),
            Err("patches[0]: missing op"),
        ),
        (
            json!({}),
            json!([{"op": "merge", "path": "/a", "value": 1}]),
            Err("patches[0]: unsupported operation 'merge'"),
        ),
        (
            json!({"a": {"b": 1}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c"}, {"op": "copy", "from": "/c", "path": "/d"}]),
            Ok(json!({"a": {}, "c": 1, "d": 1})),
        ),
        (
            json!({"a": 1}),
            json!([test("/a", json!(1.0)), remove("/a")]),
            Ok(json!({})),
        ),
        (
            json!({"a": 1}),
            json!([test("/a", json!(2)), remove("/a")]),
            Err("patches[0]: the value at this path is another one"),
        ),
        // Beyond what a 64-bit float holds.
        (
            json!({}),
            json!([add("/n", json!(9_007_199_254_740_993_i64))]),
            Ok(json!({"n": 9_007_199_254_740_993_i64})),
        ),
        (
            json!({}),
            json!([add("/lamassu.io~1iot~1aws", json!({"é": "\u{1F511}"}))]),
            Ok(json!({"lamassu.io/iot/aws": {"é": "\u{1F511}"}})),
        ),
    ]
}

impl PatchedAt<'_> {
    async fn ask(
        &self,
        router: &Router,
        method: Method,
        path: &str,
        body: String,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path);
        send(router, request.body(Body::from(body))).await
    }

    async fn patch(&self, router: &Router, method: Method, patches: &Value) -> (StatusCode, Value) {
        // The reference's SDK writes the member so for certificates.
        let member = if method == Method::PUT {
            "Patches"
        } else {
            "patches"
        };
        let body = json!({ member: patches }).to_string();
        self.ask(router, method, self.metadata, body).await
    }

    async fn stored(&self, router: &Router) -> Value {
        let (status, resource) = get(router, self.resource).await;
        assert_eq!(status, StatusCode::OK, "{}: {resource}", self.resource);
        resource
    }

    /// PUT and PATCH do the same, answer with the resource as it is then, and change all or
    /// nothing.
    ///
    /// # Panics
    ///
    /// When a patch does anything else.
    pub async fn check(&self) {
        let router = router(&(self.routes)(QueryLimits::default()));
        for method in [Method::PUT, Method::PATCH] {
            for (before, patches, outcome) in cases() {
                let whole = json!([{"op": "add", "path": "", "value": before}]);
                let (status, begun) = self.patch(&router, Method::PUT, &whole).await;
                assert_eq!(
                    (status, &begun["metadata"]),
                    (StatusCode::OK, &before),
                    "{begun}"
                );
                let (status, answer) = self.patch(&router, method.clone(), &patches).await;
                let seen = match (&outcome, answer["err"].as_str()) {
                    (Ok(_), _) => (status, answer["metadata"].to_string()),
                    (Err(_), text) => (status, text.unwrap_or("no text").to_owned()),
                };
                let expected = match &outcome {
                    Ok(after) => (StatusCode::OK, after.to_string()),
                    Err(reason) => (StatusCode::BAD_REQUEST, refusal(reason)),
                };
                assert_eq!(
                    seen, expected,
                    "{} {method} {before} {patches}",
                    self.metadata
                );
                let stored = self.stored(&router).await;
                let after = outcome.unwrap_or(before);
                assert_eq!(
                    stored["metadata"], after,
                    "{} {method} {patches}",
                    self.metadata
                );
            }
            self.check_bodies(&router, &method).await;
        }
    }

    /// Bodies without patches are refused before the resource is looked for.
    async fn check_bodies(&self, router: &Router, method: &Method) {
        let (unknown, status, text) = self.unknown;
        let not_there = (status, text.to_owned());
        let invalid = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
        let missing = invalid("struct validation error");
        for (path, body, expected) in [
            (self.metadata, "{}", missing.clone()),
            (self.metadata, r#"{"patches": null}"#, missing.clone()),
            (self.metadata, "null", missing.clone()),
            (self.metadata, "", invalid("EOF")),
            (unknown, r#"{"patches": null}"#, missing),
            (unknown, r#"{"patches": []}"#, not_there.clone()),
            (
                unknown,
                r#"{"patches": [{"op": "add", "path": "", "value": {}}]}"#,
                not_there,
            ),
        ] {
            let (status, answer) = self
                .ask(router, method.clone(), path, body.to_owned())
                .await;
            let text = answer["err"].as_str().unwrap_or("no text").to_owned();
            assert_eq!((status, text), expected, "{method} {path} {body}");
        }
        for body in [
            r#"{"patches": {}}"#,
            r#"{"patches": [1]}"#,
            r#"{"patches": [{"op": 1}]}"#,
            "[]",
        ] {
            let (status, answer) = self
                .ask(router, method.clone(), self.metadata, body.to_owned())
                .await;
            let text = answer["err"].as_str().unwrap_or_default();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
            assert!(text.starts_with("json: "), "{body}: {text}");
        }
        let many: Vec<_> = vec![json!({"op": "remove", "path": "/x"}); 1_001];
        let (status, answer) = self.patch(router, method.clone(), &json!(many)).await;
        let expected = refusal("a patch has at most 1000 operations");
        assert_eq!(
            (status, &answer["err"]),
            (StatusCode::BAD_REQUEST, &json!(expected))
        );
    }
}

fn refusal(reason: &str) -> String {
    format!("failed to apply patches to metadata: {reason}")
}
