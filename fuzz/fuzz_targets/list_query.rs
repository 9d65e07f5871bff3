//! Query strings of lists: filters of every kind, sorts, pages. What is read is written and read
//! again.
#![no_main]

use lamassu_core::query::{Field, ListRequest, QueryLimits};
use libfuzzer_sys::fuzz_target;

/// One field of every kind.
const FIELDS: &[Field] = &[
    Field::string("name", "name").folded("name_folded"),
    Field::string_array("tags", "tags"),
    Field::date("created_at", "created_at"),
    Field::number("level", "level").nullable(),
    Field::enumeration("status", "status").words(&[("0", "ACTIVE")]),
    Field::boolean("enabled", "enabled"),
    Field::json("metadata", "metadata"),
];

fuzz_target!(|query: &str| {
    let Ok(request) = ListRequest::parse(query, FIELDS, QueryLimits::default()) else {
        return;
    };
    assert!(request.page_size >= 1);
    let again = ListRequest::parse(&request.to_query(), FIELDS, QueryLimits::default())
        .expect("what was written can be read");
    assert_eq!(again.bookmark, request.bookmark);
    // A bookmark stands for all the rest.
    if request.bookmark.is_none() {
        assert_eq!(again, request);
    }
});
