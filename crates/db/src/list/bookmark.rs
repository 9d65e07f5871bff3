//! Bookmarks: opaque to clients, made and believed only by this installation.
//!
//! `base64url(mac ‖ json)`, where `mac` is HMAC-SHA256 over the JSON. The content is parsed with
//! the same code as query parameters even though it is authentic: a program of another version
//! may have made it.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use lamassu_core::query::{
    Field, Filter, ListRequest, Operand, QueryError, Sort, SortMode, find_field,
};
use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::settings::setting_or_insert;
use crate::value::Value;

/// Bytes of HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// Longest bookmark that is looked at, in bytes of text.
const MAX_TEXT_BYTES: usize = 65_536;

/// The version of the content.
const VERSION: u8 = 1;

/// The key that authenticates bookmarks; all processes of an installation share it.
#[derive(Debug)]
pub(crate) struct BookmarkKey(hmac::Key);

/// The installation's key, from the database on first use.
pub(super) async fn key(db: &Db) -> Result<&BookmarkKey, CommitError> {
    db.bookmark_key()
        .get_or_try_init(|| async {
            let mut fresh = [0_u8; MAC_BYTES];
            aws_lc_rs::rand::fill(&mut fresh)
                .map_err(|error| DbError::Unreachable(Arc::new(error)))?;
            let make = || Bytes::copy_from_slice(&fresh);
            let bytes = setting_or_insert(db, "bookmark_key", make).await?;
            Ok(BookmarkKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
        })
        .await
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u8,
    scope: String,
    size: u32,
    sort: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    then: Vec<(String, String)>,
    filters: Vec<(String, u8, String)>,
    after: Vec<Part>,
}

/// A value of the position.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    #[serde(rename = "n")]
    Null,
    #[serde(rename = "b")]
    Bool(bool),
    #[serde(rename = "i")]
    Integer(i64),
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "x")]
    Bytes(String),
}

impl BookmarkKey {
    /// A bookmark for the page behind `after`.
    pub(super) fn seal(
        &self,
        scope: &str,
        request: &ListRequest,
        after: &[Value],
    ) -> Result<String, QueryError> {
        let content = Content {
            v: VERSION,
            scope: scope.to_owned(),
            size: request.page_size,
            sort: request.sort.as_ref().map(sort_content),
            then: request.then.iter().map(sort_content).collect(),
            filters: request.filters.iter().map(filter_content).collect(),
            after: after.iter().map(part).collect(),
        };
        let json = serde_json::to_vec(&content).map_err(|_| QueryError::InvalidBookmark)?;
        let mut bytes = hmac::sign(&self.0, &json).as_ref().to_vec();
        bytes.extend_from_slice(&json);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a bookmark asks for, and behind which row.
    pub(super) fn open(
        &self,
        text: &str,
        scope: &str,
        fields: &'static [Field],
    ) -> Result<(ListRequest, Vec<Value>), QueryError> {
        let content = self.authentic(text).ok_or(QueryError::InvalidBookmark)?;
        if content.v != VERSION || content.scope != scope || content.size == 0 {
            return Err(QueryError::InvalidBookmark);
        }
        let request = request(&content, fields).ok_or(QueryError::InvalidBookmark)?;
        let after = content.after.into_iter().map(value).collect::<Option<_>>();
        Ok((request, after.ok_or(QueryError::InvalidBookmark)?))
    }

    fn authentic(&self, text: &str) -> Option<Content> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (mac, json) = bytes.split_at_checked(MAC_BYTES)?;
        hmac::verify(&self.0, json, mac).ok()?;
        serde_json::from_slice(json).ok()
    }
}

fn request(content: &Content, fields: &'static [Field]) -> Option<ListRequest> {
    let read =
        |(text, mode): &(String, String)| Sort::parse(fields, text, SortMode::from_text(mode));
    let sort = match &content.sort {
        Some(sort) => Some(read(sort)?),
        None => None,
    };
    let then = content.then.iter().map(read).collect::<Option<_>>()?;
    let filters = content
        .filters
        .iter()
        .map(|(name, code, value)| {
            let field = find_field(fields, name)?;
            let operand = Operand::from_code(field.kind, *code)?;
            Filter::new(field, operand, value).ok()
        })
        .collect::<Option<_>>()?;
    Some(ListRequest {
        page_size: content.size,
        bookmark: None,
        sort,
        then,
        filters,
    })
}

fn sort_content(sort: &Sort) -> (String, String) {
    (sort.to_text(), sort.mode.as_str().to_owned())
}

fn filter_content(filter: &Filter) -> (String, u8, String) {
    (
        filter.field.name.to_owned(),
        filter.operand.code(),
        filter.value.clone(),
    )
}

fn part(value: &Value) -> Part {
    match value {
        Value::Null => Part::Null,
        Value::Bool(value) => Part::Bool(*value),
        Value::I64(value) => Part::Integer(*value),
        Value::Text(text) | Value::Json(text) => Part::Text(text.clone()),
        Value::Bytes(bytes) => Part::Bytes(hex::encode(bytes)),
    }
}

fn value(part: Part) -> Option<Value> {
    Some(match part {
        Part::Null => Value::Null,
        Part::Bool(value) => Value::Bool(value),
        Part::Integer(value) => Value::I64(value),
        Part::Text(text) => Value::Text(text),
        Part::Bytes(text) => Value::from(hex::decode(text).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static FIELDS: &[Field] = &[
        Field::string("id", "id"),
        Field::json("metadata", "metadata"),
    ];

    fn key() -> BookmarkKey {
        BookmarkKey(hmac::Key::new(hmac::HMAC_SHA256, &[7; MAC_BYTES]))
    }

    fn authentic(json: &[u8]) -> String {
        let mut bytes = hmac::sign(&key().0, json).as_ref().to_vec();
        bytes.extend_from_slice(json);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn what_is_sealed_opens_in_its_scope_only() {
        let request = ListRequest::parse(
            "page_size=7&sort_by=metadata[jsonpath]$.a&sort_mode=desc&filter=id[ct_ic]X",
            FIELDS,
            lamassu_core::query::QueryLimits::default(),
        )
        .expect("request");
        let after = vec![
            Value::Null,
            Value::from(vec![0_u8, 255]),
            Value::I64(-1),
            "é".into(),
        ];
        let text = key().seal("things", &request, &after).expect("bookmark");
        assert_eq!(key().open(&text, "things", FIELDS), Ok((request, after)));
        assert_eq!(
            key().open(&text, "others", FIELDS),
            Err(QueryError::InvalidBookmark)
        );
        // A field that the resource no longer has.
        assert_eq!(
            key().open(&text, "things", &[]),
            Err(QueryError::InvalidBookmark)
        );
    }

    proptest! {
        #[test]
        fn authentic_nonsense_is_refused_without_panic(
            json in "\\PC{0,60}",
            size in any::<u32>(),
            sort in "\\PC{0,20}",
            code in any::<u8>(),
            value in "\\PC{0,20}",
        ) {
            prop_assert_eq!(
                key().open(&authentic(json.as_bytes()), "things", FIELDS),
                Err(QueryError::InvalidBookmark)
            );
            let content = serde_json::json!({
                "v": 1, "scope": "things", "size": size, "sort": [sort, "asc"],
                "filters": [["id", code, value]], "after": [{"t": value}, {"x": "zz"}],
            });
            let text = authentic(content.to_string().as_bytes());
            prop_assert_eq!(key().open(&text, "things", FIELDS), Err(QueryError::InvalidBookmark));
        }
    }
}
