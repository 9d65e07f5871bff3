//! Filters and sorts on every field that a list has.

use std::collections::BTreeSet;

use lamassu_core::query::{Field, FieldKind, Nulls, fold, json_sort_key, parse_instant};
use serde_json::Value;

use super::cases::cases;
use super::{ListOf, filter_query};
use crate::router::get;

/// What a field is sorted by; `Missing` is behind everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Number(i128),
    Text(String, String),
    Bytes(Vec<u8>),
    Missing,
}

impl SortKey {
    fn of(field: &Field, value: &Value) -> Self {
        match (field.kind, value) {
            (FieldKind::Json | FieldKind::StringArray, value) => {
                Self::Bytes(json_sort_key(Some(value)))
            }
            (FieldKind::Date, Value::String(text)) => parse_instant(text)
                .map_or(Self::Missing, |instant| {
                    Self::Number(instant.unix_timestamp_nanos())
                }),
            (FieldKind::Enum, Value::String(text)) => Self::Text(text.clone(), String::new()),
            (_, Value::String(text)) => Self::Text(fold(text), text.clone()),
            (_, Value::Bool(flag)) => Self::Number((*flag).into()),
            (_, value) => value
                .as_i64()
                .map_or(Self::Missing, |number| Self::Number(number.into())),
        }
    }
}

/// What a field's filters and sorts go by, in each item.
fn values(field: &Field, pointer: &str, items: &[Value]) -> Vec<Value> {
    let absent = || match (field.kind, field.nulls) {
        // A text that is never missing is shown or empty.
        (FieldKind::String | FieldKind::Enum, Nulls::Never) => Value::from(""),
        _ => Value::Null,
    };
    let value = |item: &Value| item.pointer(pointer).cloned().unwrap_or_else(absent);
    items.iter().map(value).collect()
}

impl ListOf<'_> {
    /// Every operand of every field, by all of its names, selects the items that show what was
    /// asked for; so do the field's other names.
    ///
    /// # Panics
    ///
    /// When a filter selects others, or no item shows a field that should be shown.
    pub async fn check_filters_of_every_field(&self) {
        let router = self.router();
        let mut wrong = Vec::new();
        for (filter, expected) in self.expectations().await {
            let (_, body) = get(&router, &self.uri(&filter_query(&filter))).await;
            let found = self.names(&body);
            if found != expected {
                let text = &body["err"];
                wrong.push(format!(
                    "{filter}: {found:?} instead of {expected:?} {text}"
                ));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.path);
    }

    /// Filters of all fields that the items show, with the names of those that they select.
    ///
    /// # Panics
    ///
    /// When no item shows a field that should be shown.
    pub async fn expectations(&self) -> Vec<(String, Vec<String>)> {
        let items = self.items().await;
        assert!(
            items.len() > 1,
            "{}: too few items to tell apart",
            self.path
        );
        let names = self.names(&self.page("page_size=9999").await);
        let mut expectations = Vec::new();
        for field in self.fields {
            let Some(pointer) = (self.shown)(field) else {
                continue;
            };
            let shown = items.iter().any(|item| item.pointer(&pointer).is_some());
            assert!(
                shown,
                "{}: no item shows {} at {pointer}",
                self.path, field.name
            );
            let values = values(field, &pointer, &items);
            for case in cases(field, &values) {
                let selected = names
                    .iter()
                    .zip(&values)
                    .filter(|(_, value)| (case.holds)(value));
                let selected: Vec<_> = selected.map(|(name, _)| name.clone()).collect();
                for name in std::iter::once(field.name).chain(field.alias) {
                    for operand in case.operands {
                        let filter = format!("{name}[{operand}]{}", case.value);
                        expectations.push((filter, selected.clone()));
                    }
                }
            }
        }
        expectations
    }

    /// Every field sorts both ways, in pages of every size as in one; what is equal keeps its
    /// order, whatever the direction.
    ///
    /// # Panics
    ///
    /// When an order is not the field's.
    pub async fn check_sorts_of_every_field(&self) {
        let n_items = self.items().await.len();
        let sortable = self.fields.iter().filter(|field| field.elements.is_none());
        for field in sortable {
            for name in std::iter::once(field.name).chain(field.alias) {
                let up = self.sorted(field, name, "asc").await;
                let down = self.sorted(field, name, "desc").await;
                let mut groups: Vec<_> = up.chunk_by(|(a, _), (b, _)| a == b).collect();
                groups.reverse();
                if (self.shown)(field).is_some() {
                    assert!(
                        up.is_sorted_by_key(|(key, _)| key),
                        "{}: {name}: {up:?}",
                        self.path
                    );
                    assert_eq!(down, groups.concat(), "{}: {name}", self.path);
                }
                let different: BTreeSet<_> = down.iter().map(|(_, name)| name).collect();
                assert_eq!((up.len(), different.len()), (n_items, n_items), "{name}");
            }
        }
    }

    /// The items in this order, as one page and as pages of several sizes.
    async fn sorted(&self, field: &Field, name: &str, mode: &str) -> Vec<(SortKey, String)> {
        let sort = format!("sort_by={name}&sort_mode={mode}");
        let mut page = self.page(&format!("{sort}&page_size=9999")).await;
        let names = self.names(&page);
        for size in [1, 2, 3, names.len()] {
            let pages = self.walk(&format!("{sort}&page_size={size}")).await;
            assert_eq!(pages.concat(), names, "{}: {sort} by {size}", self.path);
            assert_eq!(
                pages.len(),
                names.len().div_ceil(size),
                "{}: {sort}",
                self.path
            );
        }
        let Value::Array(items) = page["list"].take() else {
            return Vec::new();
        };
        let values = match (self.shown)(field) {
            Some(pointer) => values(field, &pointer, &items),
            None => vec![Value::Null; items.len()],
        };
        let keys = values.iter().map(|value| SortKey::of(field, value));
        keys.zip(names).collect()
    }

    /// Statistics under `parameter` count what the list shows under the same filters. `total` is
    /// what a body counts; fields in `refused` are none that statistics take.
    ///
    /// # Panics
    ///
    /// When they count anything else.
    pub async fn check_statistics(
        &self,
        uri: &str,
        parameter: &str,
        total: fn(&Value) -> i64,
        refused: &[&str],
    ) {
        self.check_refused_statistics(uri, parameter, refused).await;
        let router = self.router();
        let mut wrong = Vec::new();
        for (filter, selected) in self.expectations().await {
            if refused
                .iter()
                .any(|name| filter.starts_with(&format!("{name}[")))
            {
                continue;
            }
            let query = filter_query(&filter).replacen("filter", parameter, 1);
            let (status, body) =
                get(&router, &format!("{uri}?{query}&sort_by=x&page_size=1")).await;
            let expected = i64::try_from(selected.len()).unwrap_or(i64::MAX);
            if !status.is_success() || total(&body) != expected {
                wrong.push(format!("{filter}: {body} instead of {expected}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{uri}");
    }

    /// What lists refuse, statistics refuse as well; a filter that is none counts everything, and
    /// is refused under `strict_query`.
    async fn check_refused_statistics(&self, uri: &str, parameter: &str, refused: &[&str]) {
        let (usual, strict) = (self.router(), self.strict_router());
        let (_, everything) = get(&usual, uri).await;
        let mut wrong = Vec::new();
        let unknown = format!("{uri}?{parameter}=nope[eq]x&{parameter}=");
        let (_, counted) = get(&usual, &unknown).await;
        if counted != everything {
            wrong.push(format!("{unknown}: {counted} instead of {everything}"));
        }
        let mut cases = vec![(&strict, unknown, "unknown filter field 'nope'".to_owned())];
        for name in refused {
            let text = "struct validation error".to_owned();
            cases.push((&usual, format!("{uri}?{parameter}={name}[eq]x"), text));
        }
        for (query, text) in self.refused_filters() {
            let query = query.replacen("filter", parameter, 1);
            cases.push((&usual, format!("{uri}?{query}"), text));
        }
        for (router, uri, text) in cases {
            let (status, answer) = get(router, &uri).await;
            if (status.as_u16(), answer["err"].as_str()) != (400, Some(text.as_str())) {
                wrong.push(format!("{uri}: {status} {answer} instead of {text}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{uri}");
    }
}
