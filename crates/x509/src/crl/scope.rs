//! Extensions that say what a list is about (RFC 5280 §5.2.4 to §5.2.6, X.509 §9.5.2.8).

use time::OffsetDateTime;

use super::CrlNumber;
use super::build::number_to_der;
use crate::datetime::write_generalized_time;
use crate::extensions::{AccessLocations, Criticality, Extension, uri_general_names};
use crate::oids;
use crate::tlv::{Writer, context_constructed, sequence_of};

/// What a delta CRL is a delta to: `BaseCRLNumber`, critical.
pub fn delta_crl_indicator(base: CrlNumber) -> Extension {
    Extension::new(
        &oids::CE_DELTA_CRL_INDICATOR,
        Criticality::Critical,
        number_to_der(base),
    )
}

/// Where a complete CRL's delta CRLs are; `None` without an address.
pub fn freshest_crl(addresses: Vec<String>) -> Option<Extension> {
    let locations = AccessLocations {
        crl: addresses,
        ..AccessLocations::default()
    };
    let points = locations.distribution_points_to_der()?;
    Some(Extension::new(
        &oids::CE_FRESHEST_CRL,
        Criticality::NonCritical,
        points,
    ))
}

/// Which certificates stay on a list behind their end: those that ended at this time or later.
/// `ExpiredCertsOnCRL`, never critical; fractions of a second are cut.
pub fn expired_certs_on_crl(since: OffsetDateTime) -> Extension {
    let mut value = Writer::new();
    write_generalized_time(&mut value, since);
    Extension::new(
        &oids::CE_EXPIRED_CERTS_ON_CRL,
        Criticality::NonCritical,
        value.into_vec(),
    )
}

/// Which part of an issuer's certificates a list is about: those whose distribution point has one
/// of these addresses. Critical.
///
/// ```text
/// SEQUENCE { distributionPoint [0] { fullName [0] GeneralNames } }
/// ```
pub fn issuing_distribution_point(addresses: &[String]) -> Extension {
    let value = sequence_of(|point| {
        point.nested(context_constructed(0), |name| {
            name.nested(context_constructed(0), |full| {
                uri_general_names(full, addresses);
            });
        });
    });
    Extension::new(
        &oids::CE_ISSUING_DISTRIBUTION_POINT,
        Criticality::Critical,
        value,
    )
}
