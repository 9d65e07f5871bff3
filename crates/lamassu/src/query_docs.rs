//! The tables of fields in `docs/query.md` are those of the code.
//!
//! `LAMASSU_WRITE_DOCS=1 cargo test -p lamassu fields_are_documented` writes them.

use std::fmt::Write as _;

use lamassu_core::query::{Field, FieldKind, Nulls};

/// Lists, and what they can be filtered and sorted by.
const LISTS: &[(&str, &str, &[Field])] = &[
    (
        "Certificates",
        "`/api/ca/v1/certificates`, `…/certificates/status/{status}`, `…/certificates/expiration`, \
         `/api/ca/v1/cas/{id}/certificates`, `…/certificates/status/{status}`; `cert_filter` of statistics",
        lamassu_ca::CERTIFICATE_FIELDS,
    ),
    (
        "CAs",
        "`/api/ca/v1/cas`, `/api/ca/v1/cas/cn/{cn}`; `ca_filter` of statistics. Fields of certificates are those of \
         the CA's own",
        lamassu_ca::AUTHORITY_FIELDS,
    ),
    (
        "Requests for CAs",
        "`/api/ca/v1/cas/requests`",
        lamassu_ca::REQUEST_FIELDS,
    ),
    (
        "Issuance profiles",
        "`/api/ca/v1/profiles`",
        lamassu_ca::PROFILE_FIELDS,
    ),
    ("Jobs", "`/api/ca/v1/jobs`", lamassu_ca::JOB_FIELDS),
    (
        "Keys",
        "`/api/kms/v1/keys`, `/api/kms/v1/stats`",
        lamassu_kms::KEY_FIELDS,
    ),
    (
        "Devices",
        "`/api/devmanager/v1/devices`, `/api/devmanager/v1/devices/dms/{id}`, `/api/devmanager/v1/stats`",
        lamassu_devices::DEVICE_FIELDS,
    ),
    (
        "Devices in v2",
        "`/api/devmanager/v2/devices`",
        lamassu_devices::DEVICE_FIELDS_IN_V2,
    ),
    (
        "Device groups",
        "`/api/devmanager/v1/device-groups`",
        lamassu_devices::GROUP_FIELDS,
    ),
    (
        "Device groups in v2",
        "`/api/devmanager/v2/device-groups`",
        lamassu_devices::GROUP_FIELDS_IN_V2,
    ),
    (
        "Actions on device groups",
        "`/api/devmanager/v2/device-groups/{id}/actions`",
        lamassu_devices::ACTION_FIELDS,
    ),
    (
        "DMSs",
        "`/api/dmsmanager/v1/dms`, `/api/dmsmanager/v1/stats`",
        lamassu_dms::DMS_FIELDS,
    ),
    (
        "VA roles",
        "`/api/va/v1/roles`, `/api/va/roles`",
        lamassu_va::ROLE_FIELDS,
    ),
];

fn type_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "text",
        FieldKind::StringArray => "list of texts",
        FieldKind::Date => "date",
        FieldKind::Number => "number",
        FieldKind::Enum => "word",
        FieldKind::Boolean => "yes or no",
        FieldKind::Json => "JSON",
    }
}

fn notes(field: &Field) -> String {
    let mut notes = Vec::new();
    if let Some(alias) = field.alias {
        notes.push(format!("also `{alias}`"));
    }
    if field.hex.is_some() {
        notes.push("hexadecimal".to_owned());
    }
    if !field.choices.is_empty() {
        let choices = field.choices.iter().map(|word| format!("`{word}`"));
        notes.push(choices.collect::<Vec<_>>().join(", "));
    }
    for (word, stored) in field.words {
        notes.push(format!("`{word}` means `{stored}`"));
    }
    if field.elements.is_some() {
        notes.push("no sort".to_owned());
    }
    if field.nulls == Nulls::Possible {
        notes.push("may be missing".to_owned());
    }
    notes.join("; ")
}

fn tables() -> String {
    let mut text = String::new();
    for (name, paths, fields) in LISTS {
        write!(
            text,
            "\n### {name}\n\n{paths}.\n\n| Field | Type | |\n|---|---|---|\n"
        )
        .unwrap();
        for field in *fields {
            let notes = notes(field);
            writeln!(
                text,
                "| `{}` | {} | {notes} |",
                field.name,
                type_name(field.kind)
            )
            .unwrap();
        }
    }
    text
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says what it is for"
)]
fn fields_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/query.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (head, rest) = document.split_once("of `crates/lamassu` -->\n").unwrap();
    let (found, tail) = rest.split_once("\n<!-- end of fields -->").unwrap();
    let expected = tables();
    if std::env::var_os("LAMASSU_WRITE_DOCS").is_some() {
        let text =
            format!("{head}of `crates/lamassu` -->\n{expected}\n<!-- end of fields -->{tail}");
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(found, expected, "LAMASSU_WRITE_DOCS=1 writes them");
}
