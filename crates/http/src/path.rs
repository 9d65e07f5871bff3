//! Paths that are no canonical form: where they are sent instead.

/// The cleaned form of a path that holds `//`, `/./` or `/../` literally; `None` when it is clean.
///
/// Percent-encoded dots and slashes are data and stay as they are. A trailing slash is kept.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    let is_clean =
        !path.contains("//") && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_clean {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    let is_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    if is_folder && !kept.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

/// The path without its trailing slash; `None` when it has none or is the root.
pub(crate) fn without_trailing_slash(path: &str) -> Option<&str> {
    path.strip_suffix('/').filter(|rest| !rest.is_empty())
}

/// The first segment of a path.
pub(crate) fn first_segment(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{cleaned, without_trailing_slash};

    #[test]
    fn paths_are_cleaned_as_clients_expect() {
        let cases = [
            ("/v1/cas", None),
            ("/", None),
            ("/v1/cas/", None),
            ("/v1/cas//reissue", Some("/v1/cas/reissue")),
            ("//v1/cas", Some("/v1/cas")),
            ("/v1/cas//", Some("/v1/cas/")),
            ("/v1/./cas", Some("/v1/cas")),
            ("/v1/x/../cas", Some("/v1/cas")),
            ("/v1/cas/.", Some("/v1/cas/")),
            ("/../..", Some("/")),
            ("/v1/%2e%2e/cas", None),
            ("/v1/a%2F%2Fb", None),
            ("/v1/..a/.b", None),
        ];
        for (path, expected) in cases {
            assert_eq!(cleaned(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_one_trailing_slash_is_taken_and_never_the_root() {
        assert_eq!(without_trailing_slash("/v1/cas/"), Some("/v1/cas"));
        assert_eq!(without_trailing_slash("/"), None);
        assert_eq!(without_trailing_slash("/v1"), None);
    }
}
