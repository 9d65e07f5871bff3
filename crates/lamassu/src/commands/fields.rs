//! What the lists can be filtered and sorted by: the services' own tables.

pub(super) use lamassu_ca::{
    AUTHORITY_FIELDS, CERTIFICATE_FIELDS, JOB_FIELDS, PROFILE_FIELDS, REQUEST_FIELDS,
};
pub(super) use lamassu_devices::{ACTION_FIELDS, DEVICE_FIELDS, DEVICE_FIELDS_IN_V2, GROUP_FIELDS};
pub(super) use lamassu_dms::{APPROVAL_FIELDS, DMS_FIELDS, PASSWORD_FIELDS, REFUSED_FIELDS};
pub(super) use lamassu_kms::KEY_FIELDS;
