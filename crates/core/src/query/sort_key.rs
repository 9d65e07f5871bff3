//! The order of JSON values: one function for both databases.

use serde_json::Value;

use super::fold::fold;
use super::instant::parse_instant;

/// Bytes that compare (as unsigned bytes) like the values they stand for: missing and null, then
/// false, true, numbers, dates (by instant), other text (folded, then as it is), arrays, objects.
///
/// `lamassu_json_sort_key` in the PostgreSQL migrations of the storage crate is its twin.
pub fn json_sort_key(value: Option<&Value>) -> Vec<u8> {
    match value {
        None | Some(Value::Null) => vec![0],
        Some(Value::Bool(false)) => vec![1],
        Some(Value::Bool(true)) => vec![2],
        Some(Value::Number(number)) => tagged(3, &float_order(number.as_f64().unwrap_or_default())),
        Some(Value::String(text)) => text_key(text),
        Some(array @ Value::Array(_)) => tagged(6, container_text(array).as_bytes()),
        Some(object @ Value::Object(_)) => tagged(7, container_text(object).as_bytes()),
    }
}

/// JSON without white space, members by name, with numbers as the digits of their order: there are
/// many ways to write one number, and every database has its own.
fn container_text(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
        Value::Number(number) => float_order(number.as_f64().unwrap_or_default())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(container_text).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| {
                    format!("{}:{}", Value::from(name.as_str()), container_text(value))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn text_key(text: &str) -> Vec<u8> {
    // Only what starts like a date is worth a try.
    let starts_like_date = text.bytes().take(5).enumerate().all(|(position, byte)| {
        if position == 4 {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    });
    // A leap second is in no order that two databases would share; it stays text.
    let is_leap_second = text.get(16..19) == Some(":60");
    if starts_like_date
        && !is_leap_second
        && let Some(instant) = parse_instant(text)
    {
        // The sign bit is flipped, so that earlier instants compare as smaller bytes.
        let nanos = instant.unix_timestamp_nanos();
        let mut bytes = nanos.to_be_bytes();
        if let Some(first) = bytes.first_mut() {
            *first ^= 0x80;
        }
        return tagged(4, &bytes);
    }
    let mut key = tagged(5, fold(text).as_bytes());
    key.push(0);
    key.extend_from_slice(text.as_bytes());
    key
}

/// IEEE 754 order as unsigned bytes: negative numbers are complemented, others get the sign bit.
fn float_order(number: f64) -> [u8; 8] {
    // -0.0 equals 0.0.
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    let ordered = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    ordered.to_be_bytes()
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bytes.len().saturating_add(1));
    key.push(tag);
    key.extend_from_slice(bytes);
    key
}
