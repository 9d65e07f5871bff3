//! What every list of the program promises, checked from outside over any of them: filters, sorts,
//! pages, bookmarks, statistics (`docs/query.md`).
//!
//! A service's test describes its list ([`ListOf`]), fills it, and runs the checks. What a field's
//! filters must select is told from what the items themselves show, not from how they are stored.

mod bookmarks;
mod cases;
mod fields;
mod pages;
mod predicates;
mod refusals;

use axum::Router;
use http::StatusCode;
use lamassu_core::percent;
use lamassu_core::query::{Field, QueryLimits};
use lamassu_http::Routes;
use serde_json::Value;

pub use self::predicates::{PREDICATES, document};
use crate::router::{get, router};

/// A list of a service.
#[expect(missing_debug_implementations, reason = "holds functions")]
pub struct ListOf<'a> {
    /// The service's routes under these limits.
    pub routes: &'a (dyn Fn(QueryLimits) -> Routes + Send + Sync),
    /// Where the list is.
    pub path: &'a str,
    /// The member that names an item, as a JSON pointer; different in every item.
    pub name: &'a str,
    /// What the list can be filtered and sorted by.
    pub fields: &'static [Field],
    /// Where an item shows a field, as a JSON pointer; `None` when it does not.
    pub shown: fn(&Field) -> Option<String>,
}

/// A field's own name as a JSON pointer: where most items show it.
pub fn by_name(field: &Field) -> Option<String> {
    Some(format!("/{}", field.name.replace('.', "/")))
}

impl ListOf<'_> {
    fn router(&self) -> Router {
        self.router_under(QueryLimits::default())
    }

    fn router_under(&self, limits: QueryLimits) -> Router {
        router(&(self.routes)(limits))
    }

    fn uri(&self, query: &str) -> String {
        format!("{}?{}", self.path, readable(query))
    }

    /// The page that a query gives, or what else was answered.
    pub async fn get(&self, query: &str) -> (StatusCode, Value) {
        get(&self.router(), &self.uri(query)).await
    }

    /// The page that a query gives.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn page(&self, query: &str) -> Value {
        let (status, page) = self.get(query).await;
        assert_eq!(status, StatusCode::OK, "{}: {page}", self.uri(query));
        page
    }

    /// What names the items of a page.
    pub fn names(&self, page: &Value) -> Vec<String> {
        let items = page["list"].as_array().into_iter().flatten();
        let name = |item: &Value| {
            item.pointer(self.name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        items.map(|item| name(item).unwrap_or_default()).collect()
    }

    /// The names that a query lists, separated by spaces, or why it was refused.
    pub async fn answer(&self, query: &str) -> String {
        self.answer_of(&self.router(), query).await
    }

    async fn answer_of(&self, router: &Router, query: &str) -> String {
        let (status, body) = get(router, &self.uri(query)).await;
        match (status, body["err"].as_str()) {
            (StatusCode::OK, _) => self.names(&body).join(" "),
            (StatusCode::BAD_REQUEST, Some(text)) => text.to_owned(),
            _ => format!("{status} {body}"),
        }
    }

    /// Checks what queries answer, all of them before it complains.
    ///
    /// # Panics
    ///
    /// When one answers anything else.
    pub async fn check(&self, cases: &[(&str, &str)]) {
        let router = self.router();
        let mut wrong = Vec::new();
        for (query, expected) in cases {
            let found = self.answer_of(&router, query).await;
            if found != *expected {
                wrong.push(format!("{query}: {found:?} instead of {expected:?}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.path);
    }

    /// As [`check`](Self::check), with filters that are encoded here.
    pub async fn check_filters(&self, cases: &[(&str, &str)]) {
        let encoded: Vec<_> = cases
            .iter()
            .map(|(filter, expected)| (filter_query(filter), *expected))
            .collect();
        let cases: Vec<_> = encoded.iter().map(|(q, e)| (q.as_str(), *e)).collect();
        self.check(&cases).await;
    }

    /// All names, page by page, as the reference's SDK iterates: after the first request only the
    /// bookmark, and always `sort_mode=desc`.
    pub async fn walk(&self, first: &str) -> Vec<Vec<String>> {
        let router = self.router();
        let mut pages = Vec::new();
        let mut query = first.to_owned();
        loop {
            let (status, page) = get(&router, &self.uri(&query)).await;
            assert_eq!(status, StatusCode::OK, "{}: {page}", self.uri(&query));
            pages.push(self.names(&page));
            match page["next"].as_str() {
                Some("") => return pages,
                next => query = format!("bookmark={}&sort_mode=desc", next.unwrap_or("none")),
            }
        }
    }

    /// All items, in the order of creation.
    async fn items(&self) -> Vec<Value> {
        let mut page = self.page("page_size=9999").await;
        assert_eq!(page["next"], "", "{}", self.path);
        match page["list"].take() {
            Value::Array(items) => items,
            other => vec![other],
        }
    }
}

/// `filter=` and the filter, encoded.
fn filter_query(filter: &str) -> String {
    format!("filter={}", percent::encode(filter))
}

/// A query as tests like to write it: spaces, quotes and angle brackets are encoded here.
fn readable(query: &str) -> String {
    query
        .replace(' ', "%20")
        .replace('"', "%22")
        .replace('<', "%3C")
        .replace('>', "%3E")
}
