//! Revoked certificates and CAs in the path of an enrolling device.

use bytes::Bytes;
use lamassu_core::ca::{IssuanceProfile, ProfileChoice, SignCsr, Validity};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::CaId;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_db::{WriteSet, params, sql};
use lamassu_x509::Certificate;
use serde_json::json;

use crate::device::{Device, serial_of};
use crate::support::{World, caller, dms};

/// CAs `boot`, `sub` below it and `fleet`, and a DMS that `boot` is the anchor of.
async fn world() -> World {
    let world = World::new().await;
    world.root("boot").await;
    world.certificate_authority("sub", Some("boot")).await;
    world.root("fleet").await;
    let dms = dms("dms", &json!({}), &json!({}));
    world.created(dms).await;
    world
}

async fn certificate_of(world: &World, ca: &str) -> CertificateDer {
    let ca = world.ca.ca(&caller(), &ca.into()).await.unwrap();
    ca.certificate.certificate
}

/// What a device that presents this chain is told.
async fn refusal(world: &World, chain: &[&CertificateDer]) -> (u16, String, String) {
    let csr = Device::new("d").csr();
    world
        .est("simpleenroll", "dms", &csr, Some(chain))
        .await
        .refusal()
}

fn revoked() -> (u16, String, String) {
    (
        403,
        "certificate is revoked".to_owned(),
        "client_certificate_revoked".to_owned(),
    )
}

fn untrusted() -> (u16, String, String) {
    (
        403,
        "invalid certificate".to_owned(),
        "client_certificate_untrusted".to_owned(),
    )
}

/// An element with these parts, shorter than 64 KiB.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut der = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    der.extend(content);
    der
}

/// The same certificate with its signature written as `(r, n - s)`, which verifies as well.
fn with_the_other_signature(certificate: &CertificateDer) -> CertificateDer {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let order = order.unwrap();
    let parsed = Certificate::from_der(certificate.der().clone()).unwrap();
    // SEQUENCE { INTEGER r, INTEGER s }
    let signature = parsed.signature();
    let r_end = 4 + usize::from(signature[3]);
    let (r, s) = (&signature[2..r_end], &signature[r_end + 2..]);
    let mut padded = vec![0; 33_usize.saturating_sub(s.len())];
    padded.extend(s);
    let mut difference = [0_u8; 32];
    let mut borrow = 0;
    for place in (0..32).rev() {
        let digit = 256 + u16::from(order[place]) - u16::from(padded[place + 1]) - borrow;
        difference[place] = digit.to_be_bytes()[1];
        borrow = u16::from(digit < 256);
    }
    let zeros = difference.iter().take_while(|octet| **octet == 0).count();
    let digits = &difference[zeros..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    let signature = element(0x30, &[r, &element(2, &[sign, digits])]);
    let der = element(
        0x30,
        &[
            parsed.tbs_der(),
            parsed.signature_algorithm().as_der(),
            &element(3, &[&[0], &signature]),
        ],
    );
    assert_ne!(&der, certificate.der());
    CertificateDer::from_der(Bytes::from(der))
}

#[tokio::test]
async fn a_signature_written_otherwise_hides_no_revocation() {
    let world = world().await;
    let sub = certificate_of(&world, "sub").await;
    for (ca, rest) in [("sub", vec![&sub]), ("boot", vec![])] {
        let good = world.issue(ca, &Device::new("good")).await;
        let good = with_the_other_signature(&good);
        let csr = Device::new(&format!("enrolls-under-{ca}")).csr();
        let chain = [vec![&good], rest.clone()].concat();
        let answer = world.est("simpleenroll", "dms", &csr, Some(&chain)).await;
        answer.certificate();

        let bad = world.issue(ca, &Device::new("bad")).await;
        world.revoke(&serial_of(&bad)).await;
        let bad = with_the_other_signature(&bad);
        let chain = [vec![&bad], rest].concat();
        assert_eq!(refusal(&world, &chain).await, revoked(), "{ca}");
    }
}

#[tokio::test]
async fn nobody_enrolls_over_a_revoked_intermediate() {
    let world = world().await;
    let sub = certificate_of(&world, "sub").await;
    let certificate = world.issue("sub", &Device::new("bootstrap")).await;
    // What a CA issued is revoked with it.
    world.revoke(&serial_of(&sub)).await;
    let rewritten = with_the_other_signature(&sub);
    for sub in [sub, rewritten] {
        assert_eq!(refusal(&world, &[&certificate, &sub]).await, revoked());
    }
}

#[tokio::test]
async fn a_serial_number_that_fits_several_certificates_passes_for_none() {
    let world = world().await;
    // A subordinate that the CA service has issued, but does not have as a CA.
    let holder = Device::new("elsewhere");
    let request = SignCsr {
        csr: Some(CsrDer::from_der(holder.csr())),
        profile: ProfileChoice::Inline(Box::new(IssuanceProfile {
            validity: Validity::lasting(WireDuration::from_secs(86_400)),
            honor_subject: true,
            sign_as_ca: true,
            ..IssuanceProfile::default()
        })),
        verify_csr_signature: None,
    };
    let elsewhere = world
        .ca
        .sign_csr(&caller(), &CaId::from("boot"), request)
        .await
        .unwrap()
        .certificate;
    let known = serial_of(&world.issue("fleet", &Device::new("a")).await);
    let number = hex::decode(known.as_str()).unwrap();
    let certificate = holder.certify(&elsewhere, &Device::new("bootstrap"), &number);
    // The one that is known has another issuer.
    let csr = Device::new("first").csr();
    let chain: &[_] = &[&certificate, &elsewhere];
    world
        .est("simpleenroll", "dms", &csr, Some(chain))
        .await
        .certificate();

    let other = serial_of(&world.issue("boot", &Device::new("b")).await);
    let mut set = WriteSet::new();
    set.execute(sql(
        "UPDATE certificate SET serial_number = $1 WHERE serial_number = $2",
        params![known.as_str(), other.as_str()],
    ));
    world.db.commit(set).await.unwrap();
    assert_eq!(refusal(&world, chain).await, untrusted());
}
