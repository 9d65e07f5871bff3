//! Requests for CAs that somebody else certifies.
//!
//! 1. The operation is noted and the key made, as for a CA of our own.
//! 2. The key signs a request that asks for what a CA needs.
//! 3. One write set stores the request and ends the operation: the key has an owner.
//!
//! The import of a certificate for the key closes the request in its own write set
//! ([`close_request`](crate::store::ca_request::close_request)). Deleting a pending request turns its key back into that of an
//! abandoned operation, so that it is destroyed whatever happens in between, and nobody begins to use it.

use lamassu_core::ca::{CaError, CaRequest, CaRequestStatus, CreateCaRequest};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaRequestId, KeyRef};
use lamassu_core::kms::{key_name, made_for_request};
use lamassu_core::page::Page;
use lamassu_core::pem::CsrDer;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, list};
use lamassu_db::{Attempt, WriteSet, retry_races};
use lamassu_x509::issue::KeyPolicy;
use lamassu_x509::{KeyUsage, Name, RequestTemplate};

use crate::create_ca::{or_fresh, signed_request};
use crate::describe;
use crate::events::Teller;
use crate::issue_failure::no_signer;
use crate::jobs::AbandonedOperations;
use crate::own_key::{KeyPurpose, OwnKey};
use crate::rules::subject_fields;
use crate::service::CaService;
use crate::store::ca_request::{self, StoredRequest};
use crate::store::operation;

impl CaService {
    /// Makes a key and a request for its certificate.
    pub(crate) async fn request_ca(
        &self,
        caller: &Caller,
        asked: CreateCaRequest,
    ) -> Result<CaRequest, CaError> {
        let id = or_fresh(asked.id.clone())?;
        // Before a key is made; the write set looks again.
        let taken = ca_request::by_id(&self.db, &id)
            .await
            .map_err(StorageFailure::from)?;
        if taken.is_some() {
            return Err(CaError::RequestExists);
        }
        let name = subject_fields(&asked.subject).to_name();
        let purpose = KeyPurpose {
            name: key_name("Key For CA CN=", &name.common_name().unwrap_or_default()),
            policy: &KeyPolicy::Any,
            metadata: made_for_request(&id),
        };
        let own = self.own_key(caller, purpose, asked.key.clone()).await?;
        match self.store_request(caller, id, &name, asked, &own).await {
            Ok(request) => {
                tracing::info!(key_id = %request.key_id, "ca requested");
                Ok(request)
            }
            Err(error) => {
                self.undo(caller, &own).await;
                Err(error)
            }
        }
    }

    async fn store_request(
        &self,
        caller: &Caller,
        id: CaRequestId,
        name: &Name,
        asked: CreateCaRequest,
        own: &OwnKey,
    ) -> Result<CaRequest, CaError> {
        let reference = KeyRef::from(&own.key.key_id);
        let signer = self
            .kms
            .signer(caller, &reference)
            .await
            .map_err(no_signer)?;
        let template = RequestTemplate::new(name.clone(), &own.public_key)
            .with_key_usage(KeyUsage::ca())
            .as_ca();
        let csr = signed_request(&template, &own.public_key, &*signer).await?;
        let now = self.db.now();
        let request = CaRequest {
            id,
            key_id: own.key.key_id.clone(),
            engine_id: own.key.engine_id.clone(),
            subject: asked.subject,
            key_metadata: describe::key_metadata(Some(own.public_key.spec())),
            metadata: asked.metadata,
            creation_ts: Timestamp(now),
            status: CaRequestStatus::Pending,
            fingerprint: String::new(),
            csr: CsrDer::from_der(csr.csr().as_der().clone()),
        };
        let mut set = WriteSet::new();
        ca_request::insert(&mut set, &request, own.made_by()).map_err(StorageFailure::from)?;
        own.owned(&mut set);
        Teller { caller, now }.ca_requested(&mut set, &request);
        match self.db.commit(set).await {
            Ok(_) => Ok(request),
            Err(error) if error.failed(ca_request::FREE) => Err(CaError::RequestExists),
            Err(error) => Err(StorageFailure::from(error).into()),
        }
    }

    /// Deletes a request. The key of a pending one goes with it if it was made for it.
    pub(crate) async fn withdraw_request(
        &self,
        caller: &Caller,
        id: &CaRequestId,
    ) -> Result<(), CaError> {
        let removed = retry_races(|| self.try_withdraw(caller, id)).await?;
        if let Some(operation) = unused_key(&removed) {
            self.discard_or_leave(caller, operation).await;
        }
        Ok(())
    }

    async fn try_withdraw(
        &self,
        caller: &Caller,
        id: &CaRequestId,
    ) -> Result<StoredRequest, Attempt<CaError>> {
        let stored = self.stored_request(id).await?;
        let now = self.db.now();
        let mut set = WriteSet::new();
        ca_request::delete(&mut set, id, stored.revision);
        if let Some(operation) = unused_key(&stored) {
            operation::begin_abandoned(&mut set, operation, &stored.request.key_id, now);
            set.wake(AbandonedOperations::NAME);
        }
        Teller { caller, now }.ca_request_deleted(&mut set, id);
        self.db.commit(set).await?;
        Ok(stored)
    }

    /// The request of this id.
    pub(crate) async fn stored_request(&self, id: &CaRequestId) -> Result<StoredRequest, CaError> {
        let stored = ca_request::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.ok_or(CaError::RequestNotFound)
    }

    /// Requests.
    pub(crate) async fn list_requests(
        &self,
        request: &ListRequest,
    ) -> Result<Page<CaRequest>, CaError> {
        let page = list(&self.db, &ca_request::TABLE, "ca-requests", request, &[])
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let page = page.try_map(|row| StoredRequest::try_from(&row).map(|stored| stored.request));
        Ok(page.map_err(StorageFailure::from)?)
    }
}

/// The operation whose key nobody will use when this request is gone.
fn unused_key(stored: &StoredRequest) -> Option<&lamassu_core::ids::OperationId> {
    match stored.request.status {
        CaRequestStatus::Pending => stored.operation.as_ref(),
        CaRequestStatus::Issued => None,
    }
}
