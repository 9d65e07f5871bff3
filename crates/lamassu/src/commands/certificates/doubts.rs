//! What is odd about a certificate that was just made. It is there, so that this is no refusal: it is said
//! while whoever made it still knows what was meant.

use lamassu_core::ca::{CaService as _, Certificate};
use lamassu_x509::{Certificate as Read, GeneralName, Name, oids};
use time::{Duration, OffsetDateTime};

use crate::commands::Session;
use crate::commands::output::note;
use crate::commands::values::{at, name};

/// By how much a certificate may outlive its issuers: two CAs that are made one behind the other for ten years
/// each are not meant to end at different times.
const TOLERATED: Duration = Duration::DAY;

/// Characters of a common name (RFC 5280 appendix A.1, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// Says what is odd about the certificate, on standard error.
pub(crate) async fn tell_doubts(session: &Session, made: &Certificate) {
    let chain = session
        .ca
        .certificate_chain(&session.caller, &made.into())
        .await;
    // Whoever may not read the chain is told of the certificate itself.
    let ders = chain.unwrap_or_else(|_| vec![made.certificate.clone()]);
    let read = ders
        .iter()
        .map(|der| Read::from_der(der.der().clone()))
        .collect::<Result<Vec<_>, _>>();
    for doubt in doubts(&read.unwrap_or_default(), Session::now()) {
        note(&format!("warning: {doubt}"));
    }
}

/// What is odd about the first certificate of a chain.
fn doubts(chain: &[Read], now: OffsetDateTime) -> Vec<String> {
    let Some((made, issuers)) = chain.split_first() else {
        return Vec::new();
    };
    let mut doubts = Vec::new();
    if made.not_after() < made.not_before() {
        doubts.push("it ends before it begins: its profile has no validity".to_owned());
    } else if made.not_after() <= now {
        doubts.push(format!("it ended {}", at(made.not_after().into())));
    }
    let names = made.extensions().subject_alt_names().unwrap_or_default();
    if names.is_empty() && made.subject().common_name().unwrap_or_default().is_empty() {
        doubts.push("the subject has no common name".to_owned());
    }
    doubts.extend(odd_names(made.subject(), &names));
    let shortest = issuers.iter().min_by_key(|issuer| issuer.not_after());
    let kept = made.not_after().saturating_sub(TOLERATED);
    if let Some(issuer) = shortest.filter(|issuer| issuer.not_after() < kept) {
        doubts.push(format!(
            "it is of use until {} only, when {} ends",
            at(issuer.not_after().into()),
            name(issuer.subject())
        ));
    }
    doubts.extend(too_deep(made, issuers));
    doubts
}

/// What relying parties may refuse, or never match.
fn odd_names(subject: &Name, names: &[GeneralName]) -> Vec<String> {
    let mut doubts = Vec::new();
    let n = subject.common_name().unwrap_or_default().chars().count();
    if n > MAX_COMMON_NAME {
        doubts.push(format!(
            "the common name has {n} characters, and relying parties need take {MAX_COMMON_NAME} at most"
        ));
    }
    for country in subject.values(&oids::AT_COUNTRY) {
        if country.len() != 2 || !country.bytes().all(|octet| octet.is_ascii_alphabetic()) {
            doubts.push(format!(
                "the country {country:?} is no code of two letters, such as DE"
            ));
        }
    }
    for name in names {
        if let GeneralName::Dns(name) = name
            && name.contains(char::is_whitespace)
        {
            doubts.push(format!(
                "no server is called {name:?}: a DNS name has no spaces"
            ));
        }
    }
    doubts
}

/// Relying parties refuse chains that are longer than a CA in them allows (RFC 5280 4.2.1.9).
fn too_deep(made: &Read, issuers: &[Read]) -> Option<String> {
    let mut below = u32::from(made.is_ca());
    for issuer in issuers {
        let constraints = issuer.extensions().basic_constraints().ok().flatten();
        let allowed = constraints.and_then(|constraints| constraints.path_len_constraint);
        if let Some(allowed) = allowed.filter(|allowed| *allowed < below) {
            return Some(format!(
                "relying parties will refuse it: the path length of {} allows {allowed} CAs below it, and \
                 this makes {below}",
                name(issuer.subject())
            ));
        }
        below = below.saturating_add(1);
    }
    None
}
