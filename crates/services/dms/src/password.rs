//! Enrollment passwords: made, listed, revoked, and presented by HTTP Basic (RFC 7617).
//!
//! A password is 128 random bits, so a fast keyed digest keeps it as well as a slow one would: nobody
//! tries them all, and the key is in another table. It is found by that digest, so that a line may have any
//! number of them under one user name: how long the look-up takes tells nothing to who cannot make
//! digests. What was found is compared in constant time. A use is counted before the certificate is made, in
//! one statement that only one of several requests wins, and taken back where nothing came of it.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lamassu_core::caller::{Caller, Principal};
use lamassu_core::dms::{
    CreatePasswords, CredentialRefusal, DmsError, EnrollmentPassword, MAX_PASSWORDS, NewPassword,
    NewPasswords,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, Restriction, list};
use lamassu_db::{AuditRecord, CommitError, Db, DbError, WriteSet, setting_or_insert};
use time::Duration;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::authenticate::Attempt;
use crate::basic::basic;
use crate::service::DmsManager;
use crate::store::password as store;

/// Under which the key of digests is kept.
const KEY: &str = "enrollment_password_key";

/// The key of digests, read on first use; all processes of an installation share it.
#[derive(Debug, Default)]
pub(crate) struct DigestKey(OnceCell<hmac::Key>);

impl DigestKey {
    async fn get(&self, db: &Db) -> Result<&hmac::Key, CommitError> {
        self.0
            .get_or_try_init(|| async {
                let mut fresh = [0_u8; 32];
                aws_lc_rs::rand::fill(&mut fresh)
                    .map_err(|error| DbError::Unreachable(Arc::new(error)))?;
                let make = || Bytes::copy_from_slice(&fresh);
                let bytes = setting_or_insert(db, KEY, make).await?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
            })
            .await
    }
}

/// A password that was presented and is right; it is not used yet.
#[derive(Debug)]
pub(crate) struct PasswordUse {
    id: String,
}

impl DmsManager {
    /// Makes passwords.
    pub(crate) async fn make_passwords(
        &self,
        caller: &Caller,
        dms: &DmsId,
        request: CreatePasswords,
    ) -> Result<NewPasswords, DmsError> {
        self.dms_by_id(dms).await?;
        check(&request)?;
        let now = lamassu_db::instant::truncated(self.db.now());
        let expires = (!request.expires_in.is_zero())
            .then(|| now.saturating_add(Duration::from(request.expires_in)));
        let key = self.password_key.get(&self.db).await;
        let key = key.map_err(StorageFailure::from)?;
        let devices: Vec<DeviceId> = if request.device_ids.is_empty() {
            let count = usize::try_from(request.count).unwrap_or(MAX_PASSWORDS);
            vec![DeviceId::default(); count]
        } else {
            request.device_ids
        };
        let mut set = WriteSet::new();
        let mut made = Vec::with_capacity(devices.len());
        for device_id in devices {
            let new = new_password(device_id, &request.username)?;
            let stored = EnrollmentPassword {
                id: new.id.clone(),
                dms_id: dms.clone(),
                username: new.username.clone(),
                device_id: new.device_id.clone(),
                max_uses: request.max_uses.max(1),
                uses: 0,
                creation_ts: Timestamp(now),
                expiration_ts: expires.map(Timestamp),
                revocation_ts: None,
            };
            set.execute(store::insert(&stored, &digest(key, &new.password)));
            made.push(new);
        }
        let resource = format!("dms/{dms}/passwords");
        set.audit(AuditRecord::done(
            caller,
            "dms.password.create",
            resource,
            now,
        ));
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(NewPasswords { list: made })
    }

    /// One page of the passwords of a DMS.
    pub(crate) async fn list_passwords(
        &self,
        dms: &DmsId,
        request: &ListRequest,
    ) -> Result<Page<EnrollmentPassword>, DmsError> {
        self.dms_by_id(dms).await?;
        let scope = format!("dms/{dms}/passwords");
        let of_dms = [Restriction::Is("dms_id", dms.as_str().into())];
        let page = list(&self.db, &store::TABLE, &scope, request, &of_dms)
            .await
            .map_err(ListError::into_error::<DmsError>)?;
        let page = page.try_map(|row| store::listed(&row));
        Ok(page.map_err(StorageFailure::from)?)
    }

    /// Revokes a password.
    pub(crate) async fn end_password(
        &self,
        caller: &Caller,
        dms: &DmsId,
        id: &str,
    ) -> Result<(), DmsError> {
        self.dms_by_id(dms).await?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        set.expect_one(store::revoke(dms, id, now), store::PRESENT);
        let resource = format!("dms/{dms}/passwords/{id}");
        set.audit(AuditRecord::done(
            caller,
            "dms.password.revoke",
            resource,
            now,
        ));
        match self.db.commit(set).await {
            Ok(_) => Ok(()),
            Err(error) if error.failed(store::PRESENT) => Err(DmsError::PasswordNotFound),
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    /// The password that is presented, if it is right for the DMS and the device; and who has it.
    pub(crate) async fn presented_password(
        &self,
        attempt: Attempt<'_>,
    ) -> Result<(Caller, PasswordUse), DmsError> {
        let authorization = attempt.est.origin.header("Authorization");
        let (username, password) = authorization
            .and_then(basic)
            .ok_or(CredentialRefusal::PasswordMissing)?;
        let (dms, now) = (&attempt.dms.id, self.db.now());
        let key = self.password_key.get(&self.db).await;
        let key = key.map_err(StorageFailure::from)?;
        // What no text of the database holds is nobody's name.
        if username.contains('\0') {
            return Err(CredentialRefusal::PasswordRefused.into());
        }
        let wanted = digest(key, &password);
        let found = store::usable(&self.db, dms, (&username, &wanted), now).await;
        let found = found
            .map_err(StorageFailure::from)?
            .filter(|candidate| is_digest(key, &password, &candidate.digest))
            .ok_or(CredentialRefusal::PasswordRefused)?;
        if !found.device_id.is_empty() && found.device_id != attempt.request.device_id {
            return Err(CredentialRefusal::PasswordRefused.into());
        }
        let caller = Caller {
            principal: Principal::ApiKey { subject: username },
            ..attempt.caller.clone()
        };
        Ok((caller, PasswordUse { id: found.id }))
    }

    /// A digest that nobody can make without the installation's key.
    pub(crate) async fn keyed_digest(&self, octets: &[u8]) -> Result<String, DmsError> {
        let key = self.password_key.get(&self.db).await;
        let key = key.map_err(StorageFailure::from)?;
        Ok(STANDARD.encode(hmac::sign(key, octets)))
    }

    /// Counts a use; of several requests only as many get through as the password has uses.
    pub(crate) async fn use_password(&self, used: &PasswordUse) -> Result<(), DmsError> {
        let mut set = WriteSet::new();
        set.expect_one(store::use_once(&used.id, self.db.now()), store::USABLE);
        match self.db.commit(set).await {
            Ok(_) => Ok(()),
            Err(error) if error.failed(store::USABLE) => {
                Err(CredentialRefusal::PasswordRefused.into())
            }
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    /// Takes a use back where it is certain that nothing was issued.
    pub(crate) async fn give_password_back(&self, used: &PasswordUse, error: &DmsError) {
        if matches!(error, DmsError::Storage(StorageFailure::OutcomeUnknown(_))) {
            return;
        }
        let mut set = WriteSet::new();
        set.execute(store::give_back(&used.id));
        if let Err(error) = self.db.commit(set).await {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "use of enrollment password not given back"
            );
        }
    }
}

fn check(request: &CreatePasswords) -> Result<(), DmsError> {
    let refused = |text: String| Err(DmsError::Settings(text));
    let devices = request.device_ids.len();
    let count = usize::try_from(request.count).unwrap_or(usize::MAX);
    if devices > 0 && (count > 0 || !request.username.is_empty()) {
        return refused("device_ids go without count and username".to_owned());
    }
    if devices.max(count) == 0 || devices.max(count) > MAX_PASSWORDS {
        return refused(format!(
            "device_ids or count must ask for 1 to {MAX_PASSWORDS} passwords"
        ));
    }
    if request.device_ids.iter().any(DeviceId::is_empty) {
        return refused("device_ids must not be empty".to_owned());
    }
    // RFC 7617 section 2: what is before the first colon is the name.
    let names = request.device_ids.iter().map(DeviceId::as_str);
    if names
        .chain([request.username.as_str()])
        .any(|name| name.contains(':'))
    {
        return refused("user names must hold no colon".to_owned());
    }
    if request.expires_in.is_negative() {
        return refused("expires_in must not be negative".to_owned());
    }
    Ok(())
}

fn new_password(device_id: DeviceId, username: &str) -> Result<NewPassword, DmsError> {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
    let id = Uuid::new_v4().to_string();
    let username = match (device_id.is_empty(), username) {
        (false, _) => device_id.as_str().to_owned(),
        (true, "") => id.clone(),
        (true, name) => name.to_owned(),
    };
    Ok(NewPassword {
        id,
        username,
        device_id,
        password: format!("{:032x}", u128::from_be_bytes(random)),
    })
}

fn digest(key: &hmac::Key, password: &str) -> String {
    STANDARD.encode(hmac::sign(key, password.as_bytes()))
}

/// Whether the digest is of this password, in constant time.
fn is_digest(key: &hmac::Key, password: &str, digest: &str) -> bool {
    STANDARD
        .decode(digest)
        .is_ok_and(|digest| hmac::verify(key, password.as_bytes(), &digest).is_ok())
}
