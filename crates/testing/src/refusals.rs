//! A table of how each variant of an error enum is met from outside, and the proof that none is
//! left out.

#![expect(
    clippy::indexing_slicing,
    reason = "for tests: a member that is missing reads as null"
)]

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Method, Request};
use lamassu_http::Routes;
use serde_json::Value;

use crate::router::{router, send};

/// How a variant is met.
#[derive(Clone, Debug)]
pub enum Met {
    /// This request is refused with this status and text.
    Asked(Method, String, Value, u16, String),
    /// This test of this source text meets it, and names its text.
    Tested(&'static str, &'static str, &'static str),
    /// It cannot be met, for this reason.
    Never(&'static str),
}

/// A request that is refused.
pub fn asked(method: Method, path: &str, body: Value, status: u16, text: &str) -> Met {
    Met::Asked(method, path.to_owned(), body, status, text.to_owned())
}

/// Checks a table: `source` is the Rust text that declares the enum `name`, every variant of it is
/// in the table, nothing else is, and each is met as the table says.
///
/// # Panics
///
/// When the table is not the truth.
pub async fn check_table(source: &str, name: &str, routes: &Routes, table: &[(&str, Met)]) {
    let declared = variants(source, name);
    let named: BTreeSet<&str> = table.iter().map(|(variant, _)| *variant).collect();
    assert_eq!(named, declared, "the variants of {name}");
    let router = router(routes);
    let mut wrong = Vec::new();
    for (variant, met) in table {
        match met {
            Met::Asked(method, path, body, status, text) => {
                let request = Request::builder().method(method).uri(path);
                let body = if body.is_null() {
                    Body::empty()
                } else {
                    Body::from(body.to_string())
                };
                let (found, answer) = send(&router, request.body(body)).await;
                if (found.as_u16(), answer["err"].as_str()) != (*status, Some(text.as_str())) {
                    wrong.push(format!("{variant}: {method} {path}: {found} {answer}"));
                }
            }
            Met::Tested(file, test, text) => {
                if !body_of(file, test).is_some_and(|body| body.contains(*text)) {
                    wrong.push(format!("{variant}: no test {test} that names {text:?}"));
                }
            }
            Met::Never(reason) => {
                if reason.len() < 20 {
                    wrong.push(format!("{variant}: that is no reason"));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{name}");
}

/// The names of an enum's variants, from its formatted source.
fn variants<'s>(source: &'s str, name: &str) -> BTreeSet<&'s str> {
    let head = format!("pub enum {name} {{");
    let body = source
        .split_once(head.as_str())
        .map_or("", |(_, body)| body);
    let body = body.split("\n}").next().unwrap_or_default();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    names
        .filter_map(|line| line.split(|c: char| !c.is_alphanumeric()).next())
        .collect()
}

/// The text of a test function, up to the next one, its words separated by single spaces.
fn body_of(file: &str, test: &str) -> Option<String> {
    let (_, rest) = file.split_once(format!("fn {test}(").as_str())?;
    let body = rest.split("\n#[").next()?;
    Some(body.split_whitespace().collect::<Vec<_>>().join(" "))
}
