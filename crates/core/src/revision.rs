//! What a change expects of what it changes: its revision, as the client has seen it.

/// A condition on the revision of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// None: the last writer wins.
    #[default]
    None,
    /// The resource exists, at whatever revision.
    Exists,
    /// It is at one of these.
    OneOf(Vec<i64>),
}

impl Precondition {
    /// Whether a resource at this revision fulfils it.
    pub fn is_met_by(&self, revision: i64) -> bool {
        match self {
            Self::None | Self::Exists => true,
            Self::OneOf(revisions) => revisions.contains(&revision),
        }
    }

    /// The condition as entity tags, as `If-Match` writes them; `None` where there is none.
    pub fn to_header(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Exists => Some("*".to_owned()),
            // Nothing fulfils it, and no header says so but a tag that nobody has.
            Self::OneOf(revisions) if revisions.is_empty() => Some("\"\"".to_owned()),
            Self::OneOf(revisions) => {
                let tags: Vec<String> = revisions
                    .iter()
                    .map(|revision| format!("\"{revision}\""))
                    .collect();
                Some(tags.join(", "))
            }
        }
    }
}
