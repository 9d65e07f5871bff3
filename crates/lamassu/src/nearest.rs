//! What somebody meant who misspelt a name.

/// Letters in which a name may differ from the one that was meant.
const MAX_DISTANCE: usize = 3;

/// The name that is most like `given`, if one is like it.
pub(crate) fn nearest<'n>(
    given: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    // Of a short name, three letters are all.
    let tolerated = MAX_DISTANCE.min(given.chars().count() / 2);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(name, given), name))
        .min()
        .filter(|(distance, _)| *distance <= tolerated)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn what_is_like_nothing_is_nothing() {
        assert_eq!(
            nearest("plant-rot", ["line", "plant-root"]),
            Some("plant-root")
        );
        assert_eq!(nearest("ab", ["xyz", "cd"]), None);
        assert_eq!(nearest("plant", []), None);
    }
}
