//! Required metrics appear.

use lamassu_http::testing::SeenMetrics;
use lamassu_x509::ocsp::request_to_der;

use crate::support::{World, cert_id};

#[tokio::test]
async fn answers_and_crls_are_counted() {
    let recorder = SeenMetrics::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    lamassu_va::describe_metrics();
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let request = request_to_der(&[cert_id(&ca.certificate, &ca.certificate)], None);
    // Called without HTTP: changes over HTTP run on tasks of their own.
    let caller = lamassu_core::caller::Caller::system(
        "test",
        lamassu_core::caller::TraceContext {
            trace_id: 1,
            span_id: 1,
        },
    );
    let service: &dyn lamassu_core::va::VaService = &world.va;
    service.ocsp(&caller, request).await;
    service.ocsp(&caller, bytes::Bytes::new()).await;
    service.crl(&caller, &ca.ski).await.unwrap();
    let lines = recorder.lines();
    for expected in [
        "lamassu_ocsp_responses_total status=successful",
        "lamassu_ocsp_responses_total status=malformed_request",
        "lamassu_ocsp_certificates_total status=good",
        "lamassu_crl_made_total kind=complete",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected} in {lines:?}"
        );
    }
}
