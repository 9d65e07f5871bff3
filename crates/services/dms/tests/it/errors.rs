//! Each error of the service, met from outside: its status and its text.

use http::Method;
use lamassu_core::device::CreateDevice;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::query::QueryLimits;
use lamassu_db::{WriteSet, sql};
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::device::Device;
use crate::support::{World, caller, dms};

const ERRORS: &str = include_str!("../../../../core/src/dms/error.rs");
const ENROLL: &str = include_str!("enroll.rs");
const REENROLL: &str = include_str!("reenroll.rs");
const WIRE: &str = include_str!("est_wire.rs");

/// What is refused to managers.
#[expect(clippy::too_many_lines, reason = "a table")]
fn management() -> Vec<(&'static str, Met)> {
    let fleet = || dms("fleet-1", &json!({}), &json!({}));
    let mut other = fleet();
    other["id"] = json!("other");
    vec![
        (
            "Validation",
            asked(
                Method::POST,
                "/v1/dms",
                json!({"id": "x"}),
                400,
                "struct validation error",
            ),
        ),
        (
            "IdMismatch",
            asked(
                Method::PUT,
                "/v1/dms/fleet-1",
                other,
                400,
                "id of the body differs from the id of the path",
            ),
        ),
        (
            "DmsNotFound",
            asked(Method::GET, "/v1/dms/x", Value::Null, 404, "DMS not found"),
        ),
        (
            "DmsExists",
            asked(Method::POST, "/v1/dms", fleet(), 409, "DMS already exists"),
        ),
        (
            "Query",
            asked(
                Method::GET,
                "/v1/dms?bookmark=x",
                Value::Null,
                400,
                "not a valid bookmark",
            ),
        ),
        (
            "CommonNameMismatch",
            Met::Tested(
                include_str!("bind.rs"),
                "what_does_not_fit_is_refused",
                "certificate common name differs from the device id",
            ),
        ),
        (
            "CaProfile",
            Met::Tested(
                include_str!("management.rs"),
                "refusals_have_their_texts",
                "issuance profile signs CA certificates and cannot be used for enrollment",
            ),
        ),
        (
            "Settings",
            Met::Tested(
                include_str!("settings.rs"),
                "settings_that_can_never_work_are_refused",
                "settings: reenrollment_delta must not be negative",
            ),
        ),
        (
            "PasswordNotFound",
            asked(
                Method::DELETE,
                "/v1/dms/fleet-1/passwords/x",
                Value::Null,
                404,
                "enrollment password not found",
            ),
        ),
        (
            "Patch",
            asked(
                Method::PATCH,
                "/v1/dms/fleet-1/metadata",
                json!({"patches": [{"op": "test", "path": "/a", "value": 1}]}),
                400,
                "failed to apply patches to metadata: patches[0]: there is no value at this path",
            ),
        ),
        (
            "Ca",
            Met::Tested(
                include_str!("bind.rs"),
                "what_does_not_fit_is_refused",
                "404, \"certificate not found\"",
            ),
        ),
        (
            "Device",
            Met::Never(
                "what the device manager refuses is translated; a list parameter or an id of its own is \
                 never wrong here",
            ),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("errors.rs"),
                "a_closed_database_is_overload",
                "503, json!(\"storage unavailable\")",
            ),
        ),
    ]
}

/// What is refused to devices.
#[expect(clippy::too_many_lines, reason = "a table")]
fn enrollment() -> Vec<(&'static str, Met)> {
    let credentials = "credentials_are_refused_with_text_and_code";
    let who = "who_may_register_depends_on_mode_owner_and_identity";
    let unreadable = "what_cannot_be_read_is_refused_with_its_text";
    let order = "subject_possession_and_status_are_checked_before_the_window";
    let why = "devices_that_cannot_renew_are_told_why";
    let tested = |variant, file, test, text| (variant, Met::Tested(file, test, text));
    vec![
        tested(
            "LabelMissing",
            WIRE,
            "a_path_without_label_belongs_to_the_default_dms",
            "Key: 'aps.APS' Error:Field validation for 'APS' failed on the 'required' tag",
        ),
        tested(
            "Protocol",
            ENROLL,
            "a_dms_without_usable_authentication_refuses",
            "DMS uses EST protocol",
        ),
        tested(
            "ClientCertificateMissing",
            ENROLL,
            credentials,
            "client_certificate_missing",
        ),
        tested(
            "AuthModeUnsupported",
            ENROLL,
            "a_dms_without_usable_authentication_refuses",
            "DMS auth mode not supported",
        ),
        tested(
            "NoAuthForbidden",
            ENROLL,
            "a_dms_without_usable_authentication_refuses",
            "enrollment without authentication is not allowed on this installation",
        ),
        tested(
            "InvalidCertificate",
            ENROLL,
            credentials,
            "invalid certificate",
        ),
        tested(
            "ExpiredCertificate",
            REENROLL,
            "credentials_are_refused_in_this_order",
            "403, \"expired certificate\"",
        ),
        tested(
            "PresentedRevoked",
            ENROLL,
            credentials,
            "certificate is revoked",
        ),
        tested(
            "ActiveRevoked",
            REENROLL,
            order,
            "403, \"revoked certificate\"",
        ),
        tested(
            "MediaType",
            WIRE,
            unreadable,
            "415, \"content-type must be application/pkcs10\"",
        ),
        tested(
            "BodyEncoding",
            WIRE,
            unreadable,
            "400, \"body payload must be base64 encoded\"",
        ),
        tested(
            "MalformedCsr",
            WIRE,
            unreadable,
            "could not parse the payload into a csr: ",
        ),
        tested(
            "CsrSignature",
            ENROLL,
            "possession_is_checked_where_the_dms_says_so",
            "(400, \"invalid CSR signature\"",
        ),
        tested(
            "NoCommonName",
            WIRE,
            unreadable,
            "400, \"no CommonName in CSR\"",
        ),
        tested(
            "OtherDms",
            ENROLL,
            who,
            "device already registered to another DMS",
        ),
        tested(
            "ForbiddenNewEnrollment",
            ENROLL,
            who,
            "forbiddenNewEnrollment",
        ),
        tested("NotPreregistered", ENROLL, who, "device not preregistered"),
        tested("DeviceNotFound", REENROLL, why, "404, \"device not found\""),
        tested(
            "Decommissioned",
            include_str!("errors.rs"),
            "a_decommissioned_device_is_refused",
            "device status does not allow this operation",
        ),
        tested(
            "NoDeviceCertificate",
            REENROLL,
            why,
            "403, \"could not get device certificate\"",
        ),
        tested(
            "SubjectChanged",
            REENROLL,
            order,
            "403, \"invalid RawSubject bytes\"",
        ),
        tested(
            "WindowClosed",
            REENROLL,
            "a_closed_window_says_when_it_opens",
            "403, \"invalid reenroll window\"",
        ),
        tested(
            "ProfileSignsCa",
            ENROLL,
            "a_ca_profile_is_refused_before_anything_is_issued",
            "issuance profile signs CA certificates and cannot be used for enrollment",
        ),
        tested(
            "Webhook",
            include_str!("webhook.rs"),
            "only_a_clear_yes_lets_a_device_through",
            "external webhook denied enrollment",
        ),
        tested(
            "Credential",
            include_str!("password.rs"),
            "a_password_is_good_once_and_for_its_device",
            "user name and password required",
        ),
        tested(
            "DeviceRefused",
            include_str!("limits.rs"),
            "only_devices_that_are_listed_enroll",
            "device is not one that the DMS may enroll: its id must be in allowed_device_ids and match device_id_pattern",
        ),
        tested(
            "Renewal",
            include_str!("limits.rs"),
            "the_key_of_a_renewal_is_as_the_dms_says",
            "the key must be that of the certificate to renew",
        ),
        tested(
            "SlotChanged",
            ENROLL,
            "of_parallel_first_enrollments_one_certificate_stays_valid",
            "device identity changed meanwhile",
        ),
        tested(
            "Keygen",
            include_str!("serverkeygen.rs"),
            "who_may_not_enroll_gets_no_key",
            "server key generation not enabled",
        ),
        tested(
            "Approval",
            include_str!("approvals.rs"),
            "a_denied_enrollment_is_refused_and_decided_for_good",
            "enrollment was denied",
        ),
        tested(
            "ChannelBinding",
            include_str!("approvals.rs"),
            "a_request_that_is_bound_to_another_connection_is_refused",
            "channel binding of the request is not that of the connection",
        ),
        tested(
            "Misconfigured",
            ENROLL,
            "a_dms_whose_ca_is_gone_or_does_not_sign_is_misconfigured",
            "dms_misconfigured",
        ),
    ]
}

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let world = World::new().await;
    world.root("fleet").await;
    world.root("boot").await;
    world.created(dms("fleet-1", &json!({}), &json!({}))).await;
    let table = [management(), enrollment()].concat();
    let routes = (world.routes)(QueryLimits::default());
    check_table(ERRORS, "DmsError", &routes, &table).await;
}

#[tokio::test]
async fn a_decommissioned_device_is_refused() {
    let world = World::new().await;
    world.root("fleet").await;
    let nothing = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    world.created(dms("dms", &nothing, &json!({}))).await;
    let device = CreateDevice {
        id: DeviceId::from("d"),
        dms_id: DmsId::from("dms"),
        ..CreateDevice::default()
    };
    world
        .devices
        .create_device(&caller(), device)
        .await
        .unwrap();
    let mut set = WriteSet::new();
    set.execute(sql("UPDATE device SET status = 'DECOMMISSIONED'", vec![]));
    world.db.commit(set).await.unwrap();
    let csr = Device::new("d").csr();
    let answer = world.est("simpleenroll", "dms", &csr, None).await;
    let text = "device status does not allow this operation";
    assert_eq!(
        (answer.refusal().0, answer.refusal().1.as_str()),
        (403, text)
    );
    assert_eq!(world.issued_for("d").await, []);
}

#[tokio::test]
async fn a_closed_database_is_overload() {
    let world = World::new().await;
    world.db.close().await;
    let (status, answer) = world.call("GET", "/v1/dms/x", Value::Null).await;
    assert_eq!(
        (status.as_u16(), answer["err"].clone()),
        (503, json!("storage unavailable"))
    );
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_route() {
    let world = World::new().await;
    lamassu_testing::check_bodies(&(world.routes)(QueryLimits::default()), &[]).await;
}
