//! CRLs of CAs whose keys are elsewhere.

use lamassu_core::ca::{CaService as _, ImportCertificate};
use lamassu_core::pem::CertificateDer;
use lamassu_core::va::CrlFault;
use lamassu_db::{NextRun, system_caller};
use lamassu_x509::pem::{PemLabel, der_to_pem};
use serde_json::json;
use time::Duration;

use crate::support::{Ca, World};

/// A CA of another installation, that installation, and one that knows the CA without its key.
async fn foreign() -> (World, World, Ca) {
    let theirs = World::running().await;
    let ca = theirs.root("theirs").await;
    theirs.settle().await;
    let ours = World::running().await;
    ours.import_ca("foreign", &ca).await;
    ours.settle().await;
    (ours, theirs, ca)
}

#[tokio::test]
async fn a_foreign_crl_is_served_as_it_came_until_a_newer_one_comes() {
    let (ours, theirs, ca) = foreign().await;
    let (served, path) = (format!("/crl/{}", ca.ski), format!("/v1/crl/{}", ca.ski));
    let none = ours.get(&served).await;
    assert_eq!(none.refusal(), (404, "CRL not found".to_owned()));
    let first = theirs.crl(&ca).await;
    let role = ours.put(&path, first.as_der().clone()).await.json(200);
    assert_eq!(role["latest_crl"]["version"], 1);
    assert_eq!(role["ca_ski"], json!(ca.ski));
    assert_eq!(ours.crl(&ca).await.as_der(), first.as_der());
    let (kind, subject, data) = ours.events().await.pop().unwrap();
    assert_eq!(kind, "va.role.crl.import");
    assert_eq!(subject, format!("crl/{}", ca.ski));
    assert_eq!(data["Number"], 1);
    assert_eq!(ours.audited("va.crl.import").await, 1);
    // The next one, as PEM.
    let issued = theirs.issue(&ca, "device-1").await;
    theirs.revoke(&issued, "KeyCompromise").await;
    theirs.settle().await;
    let second = theirs.crl(&ca).await;
    let pem = der_to_pem(PemLabel::Crl, second.as_der());
    let role = ours.put(&path, pem).await.json(200);
    assert_eq!(role["latest_crl"]["version"], 2);
    assert_eq!(ours.crl(&ca).await.as_der(), second.as_der());
    // Numbers do not go back, nor is one given twice.
    for outdated in [&first, &second] {
        let refused = ours.put(&path, outdated.as_der().clone()).await;
        assert_eq!(
            refused.refusal(),
            (
                409,
                "a CRL with this number or a higher one is there already".to_owned()
            )
        );
    }
    // Another process, and one after a restart, serve it from storage.
    let (_, router) = ours.replica().await;
    let answer = crate::support::get(&router, &served, &[]).await;
    assert_eq!(&answer.body, second.as_der());
    // Where its file was lost, it may be put back, and no other.
    std::fs::remove_file(ours.crl_folder(&ca).join("2.crl")).unwrap();
    let (_, router) = ours.replica().await;
    let answer = crate::support::get(&router, &served, &[]).await;
    assert_eq!(answer.status, 404);
    for (crl, expected) in [(&first, 409), (&second, 200)] {
        let body = axum::body::Body::from(crl.as_der().clone());
        let request = http::Request::put(&path).body(body).unwrap();
        let answer = crate::support::send(&router, request).await;
        assert_eq!(answer.status, expected);
    }
    let answer = crate::support::get(&router, &served, &[]).await;
    assert_eq!(&answer.body, second.as_der());
}

#[tokio::test]
async fn what_is_no_crl_of_the_ca_is_refused() {
    let (ours, theirs, ca) = foreign().await;
    let path = format!("/v1/crl/{}", ca.ski);
    let good = theirs.crl(&ca).await;
    let other = theirs.root("others").await;
    theirs.settle().await;
    let mut forged = good.as_der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    theirs
        .set_options(&ca, json!({ "delta_validity": "1d" }))
        .await;
    theirs.run_crl_job().await;
    let delta = theirs.crl_at(&format!("/crl/{}/delta", ca.ski), &ca).await;
    let cases = [
        (Vec::new(), CrlFault::Unreadable),
        (b"-----BEGIN X509 CRL-----".to_vec(), CrlFault::Unreadable),
        (ca.certificate.as_der().to_vec(), CrlFault::Unreadable),
        (theirs.crl(&other).await.as_der().to_vec(), CrlFault::Issuer),
        (forged, CrlFault::Signature),
        (delta.as_der().to_vec(), CrlFault::Partial),
    ];
    for (sent, fault) in cases {
        let text = fault.to_string();
        let refused = ours.put(&path, sent).await;
        assert_eq!(refused.refusal(), (400, format!("CRL refused: {text}")));
    }
    let refused = |fault: CrlFault| (400, format!("CRL refused: {fault}"));
    ours.clock.advance(-Duration::hours(1));
    let early = ours.put(&path, good.as_der().clone()).await;
    assert_eq!(early.refusal(), refused(CrlFault::NotYetValid));
    ours.clock.advance(Duration::days(400));
    let late = ours.put(&path, good.as_der().clone()).await;
    assert_eq!(late.refusal(), refused(CrlFault::Outdated));
    let unknown = ours.put("/v1/crl/0badcafe", good.as_der().clone()).await;
    assert_eq!(unknown.refusal(), (404, "CA not found".to_owned()));
}

/// Nobody here can sign the next one.
#[tokio::test]
async fn a_revocation_leaves_a_foreign_crl_to_those_who_have_the_key() {
    for delta in [json!(null), json!("1d")] {
        let (ours, theirs, ca) = foreign().await;
        ours.set_options(&ca, json!({ "delta_validity": delta }))
            .await;
        let path = format!("/v1/crl/{}", ca.ski);
        let first = theirs.crl(&ca).await;
        ours.put(&path, first.as_der().clone()).await.json(200);
        let issued = theirs.issue(&ca, "device-1").await;
        let import = ImportCertificate {
            certificate: CertificateDer::from_der(issued.as_der().clone()),
            metadata: None,
        };
        let caller = system_caller("test");
        ours.ca.import_certificate(&caller, import).await.unwrap();
        ours.revoke(&issued, "KeyCompromise").await;
        ours.catch_up().await;
        assert_eq!(ours.run_crl_job().await, NextRun::WhenWoken);
        assert_eq!(ours.crl(&ca).await.as_der(), first.as_der());
        // It is on the next one that they make.
        theirs.revoke(&issued, "KeyCompromise").await;
        theirs.settle().await;
        let second = theirs.crl(&ca).await;
        ours.put(&path, second.as_der().clone()).await.json(200);
        assert_eq!(ours.crl(&ca).await.as_der(), second.as_der());
    }
}

#[tokio::test]
async fn the_crls_of_a_ca_with_its_key_are_made_here() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let crl = world.crl(&ca).await;
    let path = format!("/v1/crl/{}", ca.ski);
    let refused = world.put(&path, crl.as_der().clone()).await;
    assert_eq!(
        refused.refusal(),
        (409, "CRLs of this CA are made here".to_owned())
    );
}
