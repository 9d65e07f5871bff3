//! Bookmarks in the middle of a list: a real one of the program, moved to another row and
//! authenticated with the installation's key from its database.

use anyhow::{Context as _, Result};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::server::{Installation, Kind};

/// Bytes of HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// The same bookmark behind another row, whose parts of the order are `position`.
pub(crate) fn moved(
    installation: &Installation,
    bookmark: &str,
    position: &[String],
) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(bookmark)?;
    let (_, content) = bytes.split_at_checked(MAC_BYTES).context("a bookmark")?;
    let mut content: Value = serde_json::from_slice(content)?;
    let parts = content.get_mut("after");
    let parts = parts.and_then(Value::as_array_mut).context("a position")?;
    for (part, text) in parts.iter_mut().zip(position) {
        *part = match part.get("i") {
            Some(_) => json!({"i": text.parse::<i64>()?}),
            None => json!({"t": text}),
        };
    }
    let content = serde_json::to_vec(&content)?;
    let mut bytes = hmac::sign(&key(installation)?, &content).as_ref().to_vec();
    bytes.extend_from_slice(&content);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn key(installation: &Installation) -> Result<hmac::Key> {
    let hex_of = match installation.kind() {
        Kind::Sqlite => "hex(value)",
        Kind::Postgres => "encode(value, 'hex')",
    };
    let query = format!("SELECT {hex_of} FROM settings WHERE name = 'bookmark_key'");
    let rows = installation.rows(&query)?;
    let text = rows.first().and_then(|row| row.first());
    let bytes = hex::decode(text.context("no key of bookmarks")?)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}
