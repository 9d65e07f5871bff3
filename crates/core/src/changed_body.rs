//! Bodies that are almost good, for tests of what reads them.

use proptest::prelude::*;

/// What is put into a body: values of other types, values without end, and structure.
const TOKENS: [&str; 16] = [
    "null",
    "true",
    "-1",
    "1e400",
    "99999999999999999999",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "{}",
    "[]",
    "[[[[",
    "\"",
    ",",
    ":",
    "}",
    "\u{7f}",
];

/// One of the bodies, in which some stretches are replaced.
pub(crate) fn changed_body(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        (0..TOKENS.len()).prop_map(|n| TOKENS[n].as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    let edit = (any::<prop::sample::Index>(), 0..8_usize, token);
    let edits = proptest::collection::vec(edit, 1..5);
    (0..seeds.len(), edits).prop_map(|(n, edits)| {
        let mut body = seeds[n].as_bytes().to_vec();
        for (at, removed, token) in edits {
            let from = at.index(body.len() + 1);
            let to = (from + removed).min(body.len());
            body.splice(from..to, token);
        }
        body
    })
}
