//! The search for a path: depth first, from the end entity upwards, the anchor tried first.

use time::OffsetDateTime;

use super::{PathError, PathIssuer, PathRules, checks};
use crate::certificate::Certificate;

/// Most signatures that are verified for one path: a client can send certificates of one name
/// that make every order of them worth trying.
const MAX_SIGNATURE_CHECKS: usize = 32;

/// Finds a path and gives who issued the end entity.
pub(super) fn find(
    end_entity: &Certificate,
    intermediates: &[Certificate],
    anchor: &Certificate,
    rules: &PathRules,
) -> Result<PathIssuer, PathError> {
    if end_entity == anchor {
        return Ok(PathIssuer::Itself);
    }
    let mut search = Search {
        intermediates,
        anchor,
        rules,
        at: rules.time_of(end_entity),
        checks_left: MAX_SIGNATURE_CHECKS,
        furthest: (0, PathError::NoIssuer),
    };
    let mut path = vec![end_entity];
    if !search.extend(&mut path) {
        return Err(search.furthest.1);
    }
    Ok(match path.get(1..) {
        None | Some([]) => PathIssuer::Anchor,
        Some(intermediates) => {
            PathIssuer::Intermediates(intermediates.iter().copied().cloned().collect())
        }
    })
}

struct Search<'a> {
    intermediates: &'a [Certificate],
    anchor: &'a Certificate,
    rules: &'a PathRules,
    at: OffsetDateTime,
    checks_left: usize,
    /// What stopped the longest attempt, and how long that was.
    furthest: (usize, PathError),
}

impl<'a> Search<'a> {
    /// Extends the path, whose first element is the end entity, until the anchor signed its last
    /// element; on failure the path is as it was.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> bool {
        let Some(last) = path.last().copied() else {
            return false;
        };
        if path.len() >= self.rules.max_certificates {
            self.stopped(path.len(), PathError::TooLong);
            return false;
        }
        if self.issued(self.anchor, last, path) {
            return true;
        }
        for candidate in self.intermediates {
            if path.contains(&candidate) || candidate == self.anchor {
                continue;
            }
            if self.issued(candidate, last, path) {
                path.push(candidate);
                if self.extend(path) {
                    return true;
                }
                path.pop();
            }
        }
        false
    }

    /// Whether `candidate` issued `last` and was allowed to.
    fn issued(
        &mut self,
        candidate: &Certificate,
        last: &Certificate,
        path: &[&Certificate],
    ) -> bool {
        if !candidate.subject().matches(last.issuer()) {
            return false;
        }
        if self.checks_left == 0 {
            self.stopped(path.len(), PathError::TooLong);
            return false;
        }
        self.checks_left = self.checks_left.saturating_sub(1);
        let n_cas_below = path
            .iter()
            .skip(1)
            .filter(|ca| ca.subject() != ca.issuer())
            .count();
        let checked = checks::signature(last, candidate).and_then(|()| {
            if candidate == self.anchor {
                checks::anchor(candidate, n_cas_below)?;
            } else {
                checks::intermediate(candidate, n_cas_below)?;
            }
            checks::validity(candidate, self.at, self.rules)
        });
        match checked {
            Ok(()) => true,
            Err(error) => {
                self.stopped(path.len(), error);
                false
            }
        }
    }

    fn stopped(&mut self, length: usize, error: PathError) {
        if length >= self.furthest.0 {
            self.furthest = (length, error);
        }
    }
}
