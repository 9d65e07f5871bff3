//! JSONPath predicates, applied to a document. The input is the expression, a line end, and the
//! document.
#![no_main]

use lamassu_core::query::JsonPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (expression, document) = input.split_once('\n').unwrap_or((input, "{}"));
    let Ok(path) = JsonPath::parse(expression) else {
        return;
    };
    assert_eq!(path.text(), expression);
    if let Ok(document) = serde_json::from_str(document) {
        assert_eq!(path.matches(&document), path.matches(&document));
    }
});
