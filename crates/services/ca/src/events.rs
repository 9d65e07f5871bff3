//! What this service tells the log.

use lamassu_core::ca::{CaRequest, Cascade, Certificate, CertificateAuthority, IssuanceProfile};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{CaId, CaRequestId, ProfileId};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{AuditRecord, Event, WriteSet};
use serde::Serialize;
use time::OffsetDateTime;

use crate::windows::Entered;

/// Source of our events, unless a caller acts for another one.
const SOURCE: &str = "service/ca";

/// What an update event carries.
#[derive(Debug, Serialize)]
pub(crate) struct Change<'a, T> {
    pub(crate) previous: &'a T,
    pub(crate) updated: &'a T,
}

/// What an event about a coming end carries: the certificate or CA, and the window it entered.
#[derive(Debug, Serialize)]
struct Expiring<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    window: WireDuration,
    due: Timestamp,
}

impl<'a, T> Expiring<'a, T> {
    fn new(what: &'a T, entered: Entered) -> Self {
        let Entered { window, at } = entered;
        Self {
            what,
            window,
            due: Timestamp(at),
        }
    }
}

/// Context of what is told: who did it and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teller<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: OffsetDateTime,
}

impl Teller<'_> {
    fn event<T: Serialize>(self, event_type: &'static str, subject: String, data: &T) -> Event {
        Event::new(event_type, SOURCE, self.caller, self.now)
            .subject(subject)
            .data(data)
    }

    /// Notes in the audit log that an operation on `resource` was done.
    pub(crate) fn audit(self, set: &mut WriteSet, operation: &'static str, resource: String) {
        set.audit(AuditRecord::done(
            self.caller,
            operation,
            resource,
            self.now,
        ));
    }

    pub(crate) fn ca_created(self, set: &mut WriteSet, ca: &CertificateAuthority) {
        let subject = format!("ca/{}", ca.id);
        set.event(self.event("ca.create", subject.clone(), ca));
        self.audit(set, "ca.create", subject);
    }

    pub(crate) fn ca_requested(self, set: &mut WriteSet, request: &CaRequest) {
        let subject = format!("ca/request/{}", request.id);
        set.event(self.event("ca.request", subject.clone(), request));
        self.audit(set, "ca.request", subject);
    }

    pub(crate) fn ca_request_deleted(self, set: &mut WriteSet, id: &CaRequestId) {
        let subject = format!("ca/request/{id}");
        let data = serde_json::json!({ "CARequestID": id });
        set.event(self.event("ca.request.delete", subject.clone(), &data));
        self.audit(set, "ca.request.delete", subject);
    }

    pub(crate) fn certificate_signed(self, set: &mut WriteSet, certificate: &Certificate) {
        let subject = certificate_subject(certificate);
        set.event(self.event("ca.sign.certificate", subject.clone(), certificate));
        self.audit(set, "ca.sign.certificate", subject);
    }

    pub(crate) fn certificate_status(self, set: &mut WriteSet, change: &Change<'_, Certificate>) {
        let subject = certificate_subject(change.updated);
        set.event(self.event("certificate.status.update", subject, change));
    }

    pub(crate) fn certificate_metadata(self, set: &mut WriteSet, change: &Change<'_, Certificate>) {
        let subject = certificate_subject(change.updated);
        set.event(self.event("certificate.metadata.update", subject, change));
    }

    pub(crate) fn ca_status(self, set: &mut WriteSet, change: &Change<'_, CertificateAuthority>) {
        let subject = format!("ca/{}", change.updated.id);
        set.event(self.event("ca.status.update", subject, change));
    }

    /// Tells that a CA's certificate has another status.
    pub(crate) fn ca_has_status(
        self,
        set: &mut WriteSet,
        previous: &CertificateAuthority,
        certificate: &Certificate,
    ) {
        let updated = CertificateAuthority {
            certificate: certificate.clone(),
            ..previous.clone()
        };
        let change = Change {
            previous,
            updated: &updated,
        };
        self.ca_status(set, &change);
    }

    pub(crate) fn ca_imported(self, set: &mut WriteSet, ca: &CertificateAuthority) {
        let subject = format!("ca/{}", ca.id);
        set.event(self.event("ca.import", subject.clone(), ca));
        self.audit(set, "ca.import", subject);
    }

    /// Tells of a change of a CA that is an operation of its own.
    pub(crate) fn ca_changed(
        self,
        set: &mut WriteSet,
        event_type: &'static str,
        change: &Change<'_, CertificateAuthority>,
    ) {
        let subject = format!("ca/{}", change.updated.id);
        set.event(self.event(event_type, subject.clone(), change));
        self.audit(set, event_type, subject);
    }

    pub(crate) fn ca_deleted(self, set: &mut WriteSet, id: &CaId, cascade: Cascade) {
        let subject = format!("ca/{id}");
        let with_those_below = cascade == Cascade::Yes;
        let data = serde_json::json!({ "CAID": id, "CascadeDelete": with_those_below });
        set.event(self.event("ca.delete", subject.clone(), &data));
        self.audit(set, "ca.delete", subject);
    }

    pub(crate) fn ca_signed(self, set: &mut WriteSet, id: &CaId, signature: &[u8]) {
        let subject = format!("ca/{id}");
        let event = Event::new("ca.sign.signature", SOURCE, self.caller, self.now)
            .subject(subject.clone())
            .bytes(signature.to_vec());
        set.event(event);
        self.audit(set, "ca.sign.signature", subject);
    }

    pub(crate) fn certificate_created(self, set: &mut WriteSet, certificate: &Certificate) {
        let subject = certificate_subject(certificate);
        set.event(self.event("certificate.create", subject.clone(), certificate));
        self.audit(set, "certificate.create", subject);
    }

    /// The subject has the serial number in decimal, as existing readers of this type expect it.
    pub(crate) fn certificate_imported(self, set: &mut WriteSet, certificate: &Certificate) {
        let decimal = decimal(certificate.serial_number.as_str());
        let subject = format!("certificate/{decimal}");
        set.event(self.event("certificate.import", subject, certificate));
        self.audit(
            set,
            "ca.certificate.import",
            certificate_subject(certificate),
        );
    }

    pub(crate) fn certificate_deleted(self, set: &mut WriteSet, certificate: &Certificate) {
        let subject = certificate_subject(certificate);
        let data = serde_json::json!({ "SerialNumber": certificate.serial_number });
        set.event(self.event("certificate.delete", subject.clone(), &data));
        self.audit(set, "certificate.delete", subject);
    }

    pub(crate) fn ca_metadata(self, set: &mut WriteSet, change: &Change<'_, CertificateAuthority>) {
        let subject = format!("ca/{}", change.updated.id);
        set.event(self.event("ca.metadata.update", subject, change));
    }

    pub(crate) fn certificate_expiring(
        self,
        set: &mut WriteSet,
        certificate: &Certificate,
        entered: Entered,
    ) {
        let subject = certificate_subject(certificate);
        let data = Expiring::new(certificate, entered);
        set.event(self.event("certificate.expiring", subject.clone(), &data));
        self.audit(set, "certificate.expiring", subject);
    }

    pub(crate) fn ca_expiring(
        self,
        set: &mut WriteSet,
        ca: &CertificateAuthority,
        entered: Entered,
    ) {
        let subject = format!("ca/{}", ca.id);
        let data = Expiring::new(ca, entered);
        set.event(self.event("ca.expiring", subject.clone(), &data));
        self.audit(set, "ca.expiring", subject);
    }

    pub(crate) fn profile_created(self, set: &mut WriteSet, profile: &IssuanceProfile) {
        let subject = format!("profile/{}", profile.id);
        set.event(self.event("profile.issuance.create", subject.clone(), profile));
        self.audit(set, "profile.issuance.create", subject);
    }

    pub(crate) fn profile_updated(self, set: &mut WriteSet, change: &Change<'_, IssuanceProfile>) {
        let subject = format!("profile/{}", change.updated.id);
        set.event(self.event("profile.issuance.update", subject.clone(), change));
        self.audit(set, "profile.issuance.update", subject);
    }

    pub(crate) fn profile_deleted(self, set: &mut WriteSet, id: &ProfileId) {
        let subject = format!("profile/{id}");
        let data = serde_json::json!({ "ProfileID": id });
        set.event(self.event("profile.issuance.delete", subject.clone(), &data));
        self.audit(set, "profile.issuance.delete", subject);
    }
}

/// A hexadecimal number in decimal digits.
fn decimal(hexadecimal: &str) -> String {
    // Little-endian decimal digits, multiplied by 16 and added to for each digit read.
    let mut digits = vec![0_u32];
    for digit in hexadecimal.chars().filter_map(|digit| digit.to_digit(16)) {
        let mut carry = digit;
        for place in &mut digits {
            let value = *place * 16 + carry;
            *place = value % 10;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let digits = digits.into_iter().rev();
    digits
        .filter_map(|digit| char::from_digit(digit, 10))
        .collect()
}

/// How certificates are named in events and in the audit log.
pub(crate) fn certificate_subject(certificate: &Certificate) -> String {
    format!("certificate/{}", certificate.serial_number)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn serial_numbers_are_written_in_decimal() {
        for (hexadecimal, expected) in [
            ("00", "0"),
            ("01", "1"),
            ("0100", "256"),
            ("ffffffffffffffffffff", "1208925819614629174706175"),
        ] {
            assert_eq!(decimal(hexadecimal), expected);
        }
    }
}
