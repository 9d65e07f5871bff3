//! Whether a renewal asks for the name that the device has.

use lamassu_x509::{Extensions, GeneralName, Name, ObjectIdentifier, oids};

/// The attributes whose lists are compared; others may differ.
const COMPARED: [ObjectIdentifier; 5] = [
    oids::AT_ORGANIZATIONAL_UNIT,
    oids::AT_ORGANIZATION,
    oids::AT_LOCALITY,
    oids::AT_STATE,
    oids::AT_COUNTRY,
];

/// Whether the requested subject is that of the certificate to renew: byte for byte, or in its
/// common name and in the lists of OU, O, L, ST and C, order included. The second form lets a
/// device renew whose certificate carries its subject in other string types.
pub(crate) fn is_same(requested: &Name, current: &Name) -> bool {
    requested.as_der() == current.as_der()
        || (requested.common_name() == current.common_name()
            && COMPARED
                .iter()
                .all(|oid| requested.values(oid) == current.values(oid)))
}

/// Whether both have the same alternative names, in whatever order. What cannot be read is never the
/// same.
pub(crate) fn has_same_names(requested: &Extensions, current: &Extensions) -> bool {
    let (Ok(requested), Ok(current)) = (requested.subject_alt_names(), current.subject_alt_names())
    else {
        return false;
    };
    let is_within = |names: &[GeneralName], others: &[GeneralName]| {
        names
            .iter()
            .all(|name| others.iter().any(|other| is_same_name(name, other)))
    };
    is_within(&requested, &current) && is_within(&current, &requested)
}

/// Domain names have no case (RFC 4343).
fn is_same_name(one: &GeneralName, other: &GeneralName) -> bool {
    match (one, other) {
        (GeneralName::Dns(one), GeneralName::Dns(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_x509::{Name, SubjectFields};

    use super::is_same;

    fn name(common_name: &str, organization: &str) -> Name {
        SubjectFields {
            common_name: common_name.to_owned(),
            organization: organization.to_owned(),
            ..SubjectFields::default()
        }
        .to_name()
    }

    #[test]
    fn a_changed_attribute_is_another_subject() {
        assert!(is_same(&name("d", "o"), &name("d", "o")));
        assert!(!is_same(&name("d", "o"), &name("d", "")));
        assert!(!is_same(&name("d", "o"), &name("D", "o")));
    }
}
