//! Case folding of text.

/// The text with every character replaced by its Unicode simple case folding.
///
/// Both databases compare and order by this, made here, because their own notions of case differ
/// by version and locale.
pub fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    unicode_case_mapping::case_folded(character)
        .and_then(|code| char::from_u32(code.get()))
        .unwrap_or(character)
}
