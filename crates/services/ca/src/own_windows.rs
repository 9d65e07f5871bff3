//! Windows that the metadata of a certificate or CA bring along, and what the expiry job makes of
//! them. Pure.
//!
//! Each has a name, a length before the end and a mark that it was entered. The job sets the mark,
//! once; who wants to know watches for the change of the metadata. What cannot be read is left alone,
//! as clients write these.

use lamassu_core::ca::certificate::EXPIRATION_DELTAS;
use lamassu_core::duration::WireDuration;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

/// When the next window begins that is not marked yet; also one that has begun already.
pub(crate) fn next(
    metadata: &Map<String, Value>,
    not_after: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let windows = read(metadata)?;
    let left = windows.iter().filter(|window| !window.triggered);
    left.filter_map(|window| not_after.checked_sub(window.delta))
        .min()
}

/// The metadata with every window marked that has begun, the shortest first; `None` when there is
/// none.
pub(crate) fn entered(
    metadata: &Map<String, Value>,
    not_after: OffsetDateTime,
    now: OffsetDateTime,
) -> Option<Map<String, Value>> {
    let mut windows = read(metadata)?;
    windows.sort_by_key(|window| window.delta);
    let mut is_changed = false;
    for window in &mut windows {
        let begins = not_after.checked_sub(window.delta);
        if !window.triggered && begins.is_some_and(|begins| begins <= now) {
            window.triggered = true;
            window
                .entry
                .insert("triggered".to_owned(), Value::Bool(true));
            is_changed = true;
        }
    }
    is_changed.then(|| {
        let list = windows
            .into_iter()
            .map(|window| Value::Object(window.entry));
        let mut updated = metadata.clone();
        updated.insert(EXPIRATION_DELTAS.to_owned(), list.collect());
        updated
    })
}

/// One window: what is read of it, and the whole as it stands, with members that we do not know.
struct Window {
    delta: Duration,
    triggered: bool,
    entry: Map<String, Value>,
}

/// All windows, or none when one cannot be read.
fn read(metadata: &Map<String, Value>) -> Option<Vec<Window>> {
    let list = metadata.get(EXPIRATION_DELTAS)?.as_array()?;
    list.iter()
        .map(|entry| {
            let entry = entry.as_object()?;
            let delta: WireDuration = entry.get("delta")?.as_str()?.parse().ok()?;
            Some(Window {
                delta: delta.into(),
                triggered: entry
                    .get("triggered")
                    .is_some_and(|mark| *mark == Value::Bool(true)),
                entry: entry.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use time::macros::datetime;

    use super::{entered, next};

    fn metadata(windows: Value) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("lamassu.io/ca/expiration-deltas".to_owned(), windows);
        metadata
    }

    #[test]
    fn what_has_begun_is_marked_once_and_sorted() {
        let end = datetime!(2026-03-31 00:00 UTC);
        let windows = metadata(json!([
            { "delta": "30d", "name": "Preventive", "triggered": false },
            { "delta": "1d", "name": "Critical", "triggered": false, "more": 7 },
        ]));
        assert_eq!(next(&windows, end), Some(datetime!(2026-03-01 00:00 UTC)));
        assert_eq!(
            entered(&windows, end, datetime!(2026-02-28 23:59 UTC)),
            None
        );
        let marked = entered(&windows, end, datetime!(2026-03-01 00:00 UTC)).unwrap();
        let expected = json!([
            { "delta": "1d", "name": "Critical", "triggered": false, "more": 7 },
            { "delta": "30d", "name": "Preventive", "triggered": true },
        ]);
        assert_eq!(marked, metadata(expected));
        assert_eq!(next(&marked, end), Some(datetime!(2026-03-30 00:00 UTC)));
        assert_eq!(entered(&marked, end, datetime!(2026-03-02 00:00 UTC)), None);
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let end = datetime!(2026-03-31 00:00 UTC);
        for windows in [
            json!("30d"),
            json!([{ "delta": 30 }]),
            json!([{ "delta": "1d" }, { "delta": "x" }]),
            json!([1]),
        ] {
            let windows = metadata(windows);
            assert_eq!(next(&windows, end), None);
            assert_eq!(entered(&windows, end, end), None);
        }
        assert_eq!(next(&Map::new(), end), None);
    }
}
