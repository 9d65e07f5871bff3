//! Queries that a list refuses, and those that it ignores.

use std::num::NonZeroU32;

use axum::Router;
use lamassu_core::query::{Field, FieldKind, QueryLimits, UnknownFields};

use super::cases::operands;
use super::{ListOf, filter_query};

/// Every operand name that there is, and some that are none.
const OPERANDS: &[&str] = &[
    "", "eq", "EQ_ic", "ne_ic", "ct", "nc", "in", "nin", "bf", "after", "lt", "GE", "jsonpath",
    "like", "is_null", " eq", "eq]",
];

impl ListOf<'_> {
    /// What this list refuses under which text: an operand that the type does not have, a value
    /// that is none of the type, more than a request may ask for, U+0000 and octets
    /// that are not UTF-8 anywhere.
    ///
    /// # Panics
    ///
    /// When the answer is any other.
    pub async fn check_refusals(&self) {
        let mut cases = Vec::new();
        for field in self.fields {
            cases.extend(unknown_operands(field));
            cases.extend(bad_values(field));
        }
        cases.extend(nul());
        cases.extend(not_utf8());
        cases.extend(self.excess());
        let router = self.router();
        let mut wrong = Vec::new();
        for (query, expected) in cases {
            let found = self.answer_of(&router, &query).await;
            // What is wrong with an expression is for the parser to say.
            let fits = match expected.strip_suffix('…') {
                Some(start) => found.len() > start.len() && found.starts_with(start),
                None => found == expected,
            };
            if !fits {
                let query: String = query.chars().take(200).collect();
                wrong.push(format!("{query}: {found:?} instead of {expected:?}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.path);
    }

    /// What is no filter or sort of this list changes nothing, as v1 clients expect; under
    /// `strict_query` it is refused.
    ///
    /// # Panics
    ///
    /// When it changes something, or is accepted under `strict_query`.
    pub async fn check_what_is_ignored(&self) {
        let whole = self.answer("page_size=9999").await;
        let Some(field) = self.fields.first() else {
            return;
        };
        let name = field.name;
        let strict = self.strict_router();
        let mut wrong = Vec::new();
        for (query, refusal) in [
            ("filter=nope[eq]x".to_owned(), "unknown filter field 'nope'"),
            (
                "filter=nope[eq]x&filter=[eq]x".to_owned(),
                "unknown filter field 'nope'",
            ),
            ("filter=".to_owned(), "malformed filter ''"),
            ("filter=nope".to_owned(), "malformed filter 'nope'"),
            ("filter=x]eq[x".to_owned(), "malformed filter 'x]eq[x'"),
            (
                format!("filter=%20{name}[eq]x"),
                &format!("unknown filter field ' {name}'"),
            ),
            (
                format!("filter={name}x[eq]x"),
                &format!("unknown filter field '{name}x'"),
            ),
            (
                "sort_by=nope&sort_mode=desc".to_owned(),
                "invalid sort 'nope'",
            ),
            (
                format!("sort_by={name}[eq]x"),
                &format!("invalid sort '{name}[eq]x'"),
            ),
            // These are ignored by everybody.
            (format!("FILTER={name}[eq]x&Sort_By=nope&BOOKMARK=x"), ""),
            (format!("filter={name}[eq]%zz"), ""),
            (format!("filter={name}[eq]%"), ""),
            (format!("filter={name}[eq]a;b"), ""),
            ("%zz=1&=&&page=7&unknown[]=1".to_owned(), ""),
            ("sort_by=&sort_mode=desc&bookmark=".to_owned(), ""),
            ("sort_mode=desc".to_owned(), ""),
        ] {
            let query = format!("page_size=9999&{query}");
            let found = self.answer(&query).await;
            if found != whole {
                wrong.push(format!("{query}: {found:?}"));
            }
            let expected = if refusal.is_empty() { &whole } else { refusal };
            let found = self.answer_of(&strict, &query).await;
            if found != *expected {
                wrong.push(format!("{query}: {found:?} instead of {expected:?}"));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.path);
    }

    /// An installation that ignores nothing.
    pub(super) fn strict_router(&self) -> Router {
        self.router_under(QueryLimits {
            max_page_size: NonZeroU32::MAX,
            unknown_fields: UnknownFields::Refuse,
        })
    }

    /// Filters that are refused in words that are known, one of each kind for each field.
    pub(super) fn refused_filters(&self) -> Vec<(String, String)> {
        let refused = |field: &'static Field| {
            let operand = unknown_operands(field).next();
            let value = bad_values(field).into_iter().next();
            let known = |(_, text): &(String, String)| !text.ends_with('…');
            operand.into_iter().chain(value.filter(known))
        };
        self.fields.iter().flat_map(refused).collect()
    }

    fn excess(&self) -> Vec<(String, String)> {
        let texts = self
            .fields
            .iter()
            .filter(|field| field.kind == FieldKind::String);
        let Some(field) = texts.map(|field| field.name).next() else {
            return Vec::new();
        };
        let filter = filter_query(&format!("{field}[nc]x"));
        vec![
            (
                vec![filter; 33].join("&"),
                "a request has at most 32 filters".to_owned(),
            ),
            (
                filter_query(&format!("{field}[in]{}", vec!["x"; 1_001].join(","))),
                "a list in a filter has at most 1000 elements".to_owned(),
            ),
        ]
    }
}

fn unknown_operands(field: &'static Field) -> impl Iterator<Item = (String, String)> {
    let known = operands(field.kind);
    let unknown = OPERANDS.iter().filter(|name| {
        let name = name.split(']').next().unwrap_or_default();
        !known.iter().any(|known| known.eq_ignore_ascii_case(name))
    });
    unknown.map(|name| {
        let sent = name.split(']').next().unwrap_or_default();
        let (field, code) = (field.name, field.kind.code());
        let text = format!("invalid filter operand '{sent}' for field '{field}' of type {code}");
        (filter_query(&format!("{field}[{name}]1")), text)
    })
}

fn bad_values(field: &Field) -> Vec<(String, String)> {
    let (operand, reason, values): (_, _, &[&str]) = match field.kind {
        FieldKind::String | FieldKind::StringArray | FieldKind::Enum => return Vec::new(),
        FieldKind::Date => (
            "bf",
            "not a date",
            &[
                "",
                "soon",
                "2026-02-30",
                "2026-13-01",
                "12:00",
                "2026-01-01x10:00:00Z",
                "1767225600",
            ],
        ),
        FieldKind::Number => (
            "ge",
            "not an integer",
            &["", "big", "1.5", "0x10", "9223372036854775808", "1 2"],
        ),
        FieldKind::Boolean => (
            "ne",
            "not a boolean",
            &["", "maybe", "2", "true,false", "tr"],
        ),
        FieldKind::Json => return bad_paths(field),
    };
    let text = format!("invalid value for field '{}': {reason}", field.name);
    let filter = |value: &&str| filter_query(&format!("{}[{operand}]{value}", field.name));
    values
        .iter()
        .map(|value| (filter(value), text.clone()))
        .collect()
}

/// No predicates of the language that both databases share.
fn bad_paths(field: &Field) -> Vec<(String, String)> {
    let deep = format!("{}$.a == 1{}", "(".repeat(99), ")".repeat(99));
    let long = format!("$.a == \"{}\"", "x".repeat(4_096));
    [
        "",
        "$.s == 'x'",
        "$.s === 1",
        r#"$.tags[?(@.key == "x")]"#,
        "s == 1",
        "$.field-name == ",
        "$.s > 1 is unknown",
        "$x == 1",
        "$.a.bigint() == 1",
        "$.a.string() == \"x\"",
        r#"$.s like_regex "(""#,
        r#"$.s like_regex "(?=x)""#,
        r#"$.s like_regex "a" flag "z""#,
        "$.[",
        // Decoded once more, since it is no expression before.
        "%24.a == \"%00\"",
        "$.a == \"\\u0000\"",
        "$.a == 1; DROP TABLE x",
        &deep,
        &long,
    ]
    .map(|path| {
        let filter = filter_query(&format!("{}[jsonpath]{path}", field.name));
        (filter, "invalid JSONPath expression: …".to_owned())
    })
    .to_vec()
}

fn not_utf8() -> impl Iterator<Item = (String, String)> {
    let cases = [
        ("filter=name[eq]%ff%fe", "filter"),
        ("bookmark=%C3", "bookmark"),
        ("x=%ED%A0%80", "x"),
        ("%ff=1", "\u{fffd}"),
    ];
    cases.into_iter().map(|(query, name)| {
        let text = format!("invalid query parameter '{name}': not UTF-8");
        (query.to_owned(), text)
    })
}

fn nul() -> Vec<(String, String)> {
    [
        "filter",
        "sort_by",
        "sort_mode",
        "page_size",
        "bookmark",
        "x",
        "x%00y",
    ]
    .iter()
    .flat_map(|name| {
        let text =
            format!("query parameter {name} holds the character U+0000, which cannot be stored");
        ["%00", "name[eq]%00", "a%00b"].map(|value| (format!("{name}={value}"), text.clone()))
    })
    .collect()
}
