//! What to do about a refusal: whoever reads it is at a terminal, not in the code.

mod about;
mod advice;

use std::error::Error as StdError;

use anyhow::Error;
use http::StatusCode;
use lamassu_client::{UnexpectedAnswer, WrongAddress};
use lamassu_core::ca::CaError;
use lamassu_core::device::{DeviceError, RegistryError};
use lamassu_core::device_group::{DeviceGroupError, DeviceGroupService as _};
use lamassu_core::dms::DmsError;
use lamassu_core::error::{ErrorDetail, StorageFailure};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::kms::KmsError;
use lamassu_core::permission::Role;
use lamassu_core::va::VaError;

pub(super) use self::about::{About, Noun, Refusal};
pub(super) use self::advice::WELL_FORMED;
use super::Session;

/// The error with what to do about it.
pub(super) async fn explained(session: &Session, error: Error) -> Error {
    if let Some(answer) = cause::<UnexpectedAnswer>(&error) {
        let place = &session.place;
        return match answer.status {
            StatusCode::UNAUTHORIZED => refused_token(answer),
            StatusCode::FORBIDDEN => missing_permission(answer),
            status if status.is_redirection() => Error::msg(format!(
                "{place} does not answer over plain HTTP: use the server's https:// address"
            )),
            status => Error::msg(format!(
                "{place} gave an answer that this command does not understand ({status} {:?}): is \
                 it a lamassu server of about this version?",
                answer.text
            )),
        };
    }
    let is_away = matches!(storage_failure(&error), Some(StorageFailure::PeerAway(_)));
    if is_away || WrongAddress::among(error.as_ref()).is_some() {
        return no_answer(&session.place, &error);
    }
    if let Some(sentence) = about::unknown(session, &error).await {
        return Error::msg(sentence);
    }
    if let Some(sentence) = about::unfit(session, &error).await {
        return Error::msg(sentence);
    }
    if let Some(RegistryError::PolicyBroken(group, details)) = cause(&error) {
        return broken_policy(session, group, details).await;
    }
    match advice::on(&error) {
        Some(advice) => {
            let told = about::in_engine(session, &error).await;
            let told = told.unwrap_or_else(|| error.root_cause().to_string());
            Error::msg(format!("{told}: {advice}"))
        }
        None => error,
    }
}

/// Which policy is broken, of which group, and how.
async fn broken_policy(session: &Session, group: &DeviceGroupId, details: &[ErrorDetail]) -> Error {
    // Whoever may change devices need not see groups.
    let found = session.devices.group(&session.caller, group).await;
    let name = found.map_or_else(|_| group.to_string(), |found| found.document.name);
    let details = details
        .iter()
        .map(|detail| format!("{}: {}", detail.field, detail.reason));
    Error::msg(format!(
        "a policy of the device group {name} is broken: {}",
        details.collect::<Vec<_>>().join("; ")
    ))
}

/// That there is no answer from a server, and what may be the reason.
pub(super) fn no_answer(place: &str, error: &Error) -> Error {
    if let Some(told) = told_of_address(error.as_ref()) {
        return Error::msg(format!("{place} does not answer: {told}"));
    }
    let cause = error.root_cause().to_string();
    let advice = if cause.contains("certificate") {
        "--ca-file names the file that vouches for the server, tls/ca.pem of its data directory"
    } else {
        "is the server running, and is that its address?"
    };
    Error::msg(format!("{place} does not answer ({cause}): {advice}"))
}

/// What is wrong with the address of a server, and what to do about it.
pub(super) fn told_of_address(error: &(dyn StdError + 'static)) -> Option<String> {
    Some(match WrongAddress::among(error)? {
        WrongAddress::PlainHttp => {
            "it speaks plain HTTP there, no TLS. Wrong port? That of HTTPS is 8443, unless the server \
             was told another one"
                .to_owned()
        }
        WrongAddress::NoHttp(_) => {
            "it speaks no HTTP there, perhaps TLS: is https:// meant, or is it the wrong port?"
                .to_owned()
        }
        WrongAddress::Name { called, names } => format!(
            "its certificate is for {}, not for {called}: call it by a name that it has, or have it \
             answer to this one (`lamassu serve --domain {called}`)",
            names.join(", ")
        ),
    })
}

fn refused_token(answer: &UnexpectedAnswer) -> Error {
    Error::msg(format!(
        "the server refused the token ({}): get a new one, for example by `lamassu token` on the \
         server's machine",
        answer.text
    ))
}

/// Which roles would do.
fn missing_permission(answer: &UnexpectedAnswer) -> Error {
    let Some(lacking) = &answer.lacking else {
        return Error::msg(format!("the token does not allow this: {}", answer.text));
    };
    let granting = Role::ALL
        .into_iter()
        .filter(|role| *role != Role::Service && grants(*role, lacking));
    let roles: Vec<_> = granting.map(Role::name).collect();
    Error::msg(format!(
        "the token does not allow this: it lacks the permission {lacking}, which the roles {} have",
        roles.join(", ")
    ))
}

/// Whether a role has a permission, both by their texts: the server may know more permissions.
fn grants(role: Role, permission: &str) -> bool {
    role.grants().iter().any(|grant| {
        let grant = grant.to_string();
        let mut parts = grant.split(':').zip(permission.split(':'));
        parts.all(|(granted, needed)| granted == "*" || granted == needed)
    })
}

/// The error of this type among the causes.
fn cause<E: std::error::Error + 'static>(error: &Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn storage_failure(error: &Error) -> Option<&StorageFailure> {
    let of_kms = match cause::<KmsError>(error) {
        Some(KmsError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_ca = || match cause::<CaError>(error) {
        Some(CaError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_devices = || match cause::<DeviceError>(error) {
        Some(DeviceError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_dms = || match cause::<DmsError>(error) {
        Some(DmsError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_groups = || match cause::<DeviceGroupError>(error) {
        Some(DeviceGroupError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_va = || match cause::<VaError>(error) {
        Some(VaError::Storage(failure)) => Some(failure),
        _ => None,
    };
    let of_registry = || match cause::<RegistryError>(error) {
        Some(RegistryError::Storage(failure)) => Some(failure),
        _ => None,
    };
    of_kms
        .or_else(of_ca)
        .or_else(of_va)
        .or_else(of_registry)
        .or_else(of_devices)
        .or_else(of_dms)
        .or_else(of_groups)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use lamassu_client::UnexpectedAnswer;

    use super::missing_permission;

    #[test]
    fn roles_that_would_do_are_named() {
        let answer = UnexpectedAnswer {
            status: StatusCode::FORBIDDEN,
            text: "insufficient permissions".to_owned(),
            lacking: Some("ca:sign".to_owned()),
        };
        assert_eq!(
            missing_permission(&answer).to_string(),
            "the token does not allow this: it lacks the permission ca:sign, which the roles admin, \
             operator, ca-manager have"
        );
    }
}
