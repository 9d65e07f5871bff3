//! Whether a renewal asks for the name that the device has.

use lamassu_x509::{Name, ObjectIdentifier, oids};

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
