//! How deeply a document may be nested.

/// Most arrays and objects within each other. Whoever reads what is kept of the document, within an event or a
/// list, gives up at 128.
pub(super) const MAX_DEPTH: usize = 110;

/// Whether this document, which is valid JSON, is nested deeper.
pub(super) fn is_too_deep(json: &str) -> bool {
    let opens = |octet: &u8| matches!(octet, b'[' | b'{');
    // Almost all documents.
    if json.bytes().filter(opens).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for octet in json.bytes() {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}
