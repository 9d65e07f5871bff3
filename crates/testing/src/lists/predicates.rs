//! The SQL/JSON path language, over one document that an item holds and another that is empty.

use serde_json::{Value, json};

use super::ListOf;

/// What an item holds over which [`PREDICATES`] are asked.
pub fn document() -> Value {
    json!({
        "b": true, "s": "x", "arr": [1, 2], "n": null, "obj": [{"k": 1}, {"k": 2}],
        "e": "production", "v": 10, "h": "web-1", "score": 60, "priority": 4.75,
        "tags": [{"key": "p"}], "ports": [80, 8443], "a": {"b": "+34"},
        "field-name": 1, "at": "2026-01-02T03:04:05+02:00", "p": "50%25", "u": "Straße"
    })
}

/// Whom a predicate selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selects {
    /// The item with the [`document`].
    Filled,
    /// The item without and the one with it.
    Both,
    /// None of them.
    Neither,
}

use Selects::{Both, Filled, Neither};

/// Predicates and whom they select.
pub const PREDICATES: &[(&str, Selects)] = &[
    (r#"$.s == "x""#, Filled),
    (r#"$.s != "y""#, Filled),
    (r#"!($.s == "y")"#, Both),
    ("exists($.s)", Filled),
    ("$.s", Neither),
    ("$.b", Filled),
    ("$.arr[*] ? (@ == 1)", Neither),
    ("exists($.arr[*] ? (@ == 1))", Filled),
    ("$.arr == 2", Filled),
    ("$.arr[0] == 1", Filled),
    ("$.arr[last] == 2", Filled),
    ("$.arr[last-1] == 1", Filled),
    ("$.arr[0 to 1] == 2", Filled),
    ("$.arr[0,1] == 2", Filled),
    ("$.n == null", Filled),
    ("$.s > 1", Neither),
    ("($.s > 1) is unknown", Filled),
    ("strict $.zz == 1", Neither),
    ("lax $.arr == 2", Filled),
    (r#"$.s starts with "x""#, Filled),
    (r#"$.s like_regex "^X" flag "i""#, Filled),
    (r#"$.s like_regex "^X""#, Neither),
    (r#"$.h like_regex "^web-[0-9]+$""#, Filled),
    ("$.arr.size() == 2", Filled),
    (r#"$.b.type() == "boolean""#, Filled),
    ("$.obj[*].k == 2", Filled),
    ("$.obj.k == 2", Filled),
    ("exists($.a.b)", Filled),
    ("exists($.tags[0].key)", Filled),
    (r#"exists($.tags[*] ? (@.key == "p"))"#, Filled),
    (r#"$.e == "production" && $.b == true"#, Filled),
    (r#"$.e == "test" || $.v > 2"#, Filled),
    (
        r#"($.e == "a" || $.e == "production") && $.v <= 10"#,
        Filled,
    ),
    ("exists($.ports[*] ? (@ > 8000)) && exists($.ports)", Filled),
    ("$.score >= 40 && $.score <= 80", Filled),
    ("$.priority > 4.5", Filled),
    ("$.v + 1 > 10", Filled),
    ("-$.v < 0", Filled),
    ("$.v % 3 == 1", Filled),
    ("$.priority.floor() == 4", Filled),
    ("$.priority.ceiling() == 5", Filled),
    ("(-$.v).abs() == 10", Filled),
    (r#"$."field-name" == 1"#, Filled),
    (r#"$.a.b == "+34""#, Filled),
    (r#"$.** == "+34""#, Filled),
    (r#"$.**{2} == "+34""#, Filled),
    (r#"$.*.b == "+34""#, Filled),
    (r#"$.u == "Stra\u00dfe""#, Filled),
    (r#"exists($.keyvalue() ? (@.key == "s"))"#, Filled),
    (
        r#"$.at.datetime() < "2026-01-02T03:04:05+00:00".datetime()"#,
        Filled,
    ),
    // Percent-encoded once more by the client.
    ("%24.s%20%3D%3D%20%22x%22", Filled),
    // Nothing is decoded twice that is an expression already.
    (r#"$.p == "50%25""#, Filled),
];

/// Sorts that are none: such probes leave the order of creation.
const NO_SORTS: &[&str] = &[
    "$",
    "$.tags[*]",
    "$.v'; DROP TABLE kms_key",
    "$.v UNION SELECT 1",
    "$.v-- comment",
    "$.v) OR 1=1--",
    "$.v WHERE 1=1",
    "$.v[99999999999999999999999]",
    r#"$."a\b""#,
];

impl ListOf<'_> {
    /// [`PREDICATES`] over a JSON field of all items. The one named `with` holds the [`document`],
    /// the others hold nothing that it holds.
    ///
    /// # Panics
    ///
    /// When one selects others.
    pub async fn check_predicates(&self, field: &'static str, with: &str) {
        // Where there is no document, nothing can be said about it.
        let documents = self.with_document(field).await.join(" ");
        let cases: Vec<(String, &str)> = PREDICATES
            .iter()
            .map(|(path, selects)| {
                let expected = match selects {
                    Filled => with,
                    Both => documents.as_str(),
                    Neither => "",
                };
                (format!("{field}[jsonpath]{path}"), expected)
            })
            .collect();
        let cases: Vec<_> = cases.iter().map(|(f, e)| (f.as_str(), *e)).collect();
        self.check_filters(&cases).await;
        let two = format!("filter={field}[jsonpath]exists($.s)&filter={field}[jsonpath]");
        let cases = [(format!("{two}$.v>99"), ""), (format!("{two}$.v>9"), with)];
        self.check(
            &cases
                .each_ref()
                .map(|(query, names)| (query.as_str(), *names)),
        )
        .await;
    }

    /// The items whose field is not null, in the order of creation.
    async fn with_document(&self, field: &'static str) -> Vec<String> {
        let known = self.fields.iter().find(|known| known.name == field);
        let pointer = known.and_then(self.shown).unwrap_or_default();
        let names = self.names(&self.page("page_size=9999").await);
        let items = self.items().await;
        let has = |item: &Value| item.pointer(&pointer).is_some_and(|value| !value.is_null());
        let named = names.into_iter().zip(&items);
        named
            .filter(|(_, item)| has(item))
            .map(|(name, _)| name)
            .collect()
    }

    /// Sorts by paths into the same field. What is missing comes first upwards and last downwards,
    /// among itself in one order; what is no path leaves the order of creation.
    ///
    /// # Panics
    ///
    /// When an order is another.
    pub async fn check_path_sorts(&self, field: &str, with: &str) {
        let created = self.walk("page_size=9999").await.concat();
        for path in [
            "$.v",
            "$.arr[0]",
            "$.arr[last]",
            r#"$."field-name""#,
            "$.field-name",
            "$.a.b",
            "$.u",
        ] {
            let sort = format!("sort_by={field}[jsonpath]{path}");
            let mut up = self.walk(&format!("{sort}&page_size=2")).await.concat();
            let mut down = self
                .walk(&format!("{sort}&sort_mode=desc&page_size=2"))
                .await
                .concat();
            let ends = (up.pop().unwrap_or_default(), down.remove(0));
            assert_eq!((ends.0.as_str(), ends.1.as_str()), (with, with), "{sort}");
            assert_eq!(up, down, "{}: {sort}", self.path);
            assert_eq!(up.len() + 1, created.len(), "{}: {sort}", self.path);
        }
        let created = created.join(" ");
        for path in NO_SORTS {
            let sort = format!("sort_by={field}[jsonpath]{path}&sort_mode=desc");
            assert_eq!(self.answer(&sort).await, created, "{}: {path}", self.path);
        }
        let answer = self
            .answer(&format!("sort_by={field}[eq]$.v&sort_mode=desc"))
            .await;
        assert_eq!(answer, created, "{}", self.path);
        let combined = format!("sort_by={field}[jsonpath]$.v&filter={field}[jsonpath]$.v > 1");
        assert_eq!(self.answer(&combined).await, with, "{}", self.path);
    }
}
