//! The DMS manager: its ports, and the service trait, one call per method.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use lamassu_client::PeerError;
use lamassu_core::ca::CaService;
use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceService;
use lamassu_core::dms::approval::Verdict;
use lamassu_core::dms::settings::PROTOCOL_EST;
use lamassu_core::dms::{
    Approval, BindDevice, Binding, CreatePasswords, Decision, Dms, DmsError, DmsService, DmsStats,
    DryRun, DryRunReport, EnrollmentPassword, EstRequest, EstToken, GeneratedKey, NewPasswords,
    Outcome, RefusedEnrollment, SweepScope, WebhookRefusal,
};
use lamassu_core::ids::{ApprovalId, DmsId};
use lamassu_core::page::Page;
use lamassu_core::patch::PatchOperation;
use lamassu_core::pem::CertificateDer;
use lamassu_core::query::ListRequest;
use lamassu_db::{
    AuditRecord, Db, EventHandler, Job, MigrationError, RefusalLog, Subscription, run_job,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::config::{EstConfig, InvalidEstConfig};
use crate::credential::Judge;
use crate::directory::Directory;
use crate::events::{self, ForgetOnChange, SOURCE};
use crate::foreign_revocation::ForeignIssuers;
use crate::jobs::{ApprovalEnds, Clean, Sweep};
use crate::keygen::KeyMaker;
use crate::known_paths::KnownPaths;
use crate::limits::Limits;
use crate::password::DigestKey;
use crate::refused::RefusedLog;
use crate::revocation::RevocationCheck;
use crate::seal::SealKey;
use crate::store::SCHEMA;
use crate::system_ca::SystemCa;
use crate::webhook::Hooks;
use crate::{channel_binding, csr_attrs, metrics, profile};

/// Most refused credentials per minute that are written to the audit log.
const REFUSALS_PER_MINUTE: u32 = 600;

/// What the DMS manager works with.
#[derive(Debug)]
pub struct DmsPorts {
    /// Where DMSs are kept; also tells the time.
    pub db: Db,
    /// Issues and revokes.
    pub ca: Arc<dyn CaService>,
    /// Binds.
    pub devices: Arc<dyn DeviceService>,
    /// What `cacerts` gives where a DMS includes the system's CA.
    pub system_ca: Arc<dyn SystemCa>,
    /// How EST behaves.
    pub config: EstConfig,
}

/// Why the DMS manager does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not one to run with.
    #[error(transparent)]
    Config(#[from] InvalidEstConfig),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// Nobody can be asked about foreign certificates.
    #[error(transparent)]
    Outbound(#[from] PeerError),
    /// Secrets that an older version stored cannot be sealed.
    #[error("secrets of DMSs cannot be sealed")]
    Secrets(#[source] DmsError),
}

/// The DMS manager.
#[derive(Debug)]
pub struct DmsManager {
    pub(crate) db: Db,
    pub(crate) ca: Arc<dyn CaService>,
    pub(crate) devices: Arc<dyn DeviceService>,
    pub(crate) system_ca: Arc<dyn SystemCa>,
    pub(crate) config: EstConfig,
    pub(crate) directory: Arc<Directory>,
    pub(crate) paths: KnownPaths,
    pub(crate) hooks: Hooks,
    pub(crate) limits: Limits,
    pub(crate) password_key: DigestKey,
    pub(crate) secret_key: SealKey,
    pub(crate) foreign: ForeignIssuers,
    pub(crate) keys: KeyMaker,
    /// Whatever was open before was opened by another process.
    pub(crate) started_at: OffsetDateTime,
    refusals: RefusalLog,
    refused: RefusedLog,
}

impl DmsManager {
    /// A manager over these ports, its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn new(ports: DmsPorts) -> Result<Self, StartError> {
        let DmsPorts {
            db,
            ca,
            devices,
            system_ca,
            config,
        } = ports;
        config.validate()?;
        db.migrate(SCHEMA).await?;
        let manager = Self {
            directory: Arc::new(Directory::new(Arc::clone(&ca))),
            paths: KnownPaths::new(),
            hooks: Hooks::new(),
            limits: Limits::new(config.dms_rate_limit),
            password_key: DigestKey::default(),
            secret_key: SealKey::default(),
            foreign: ForeignIssuers::new(&config.revocation)?,
            keys: KeyMaker::new(config.max_key_generations),
            started_at: db.now(),
            refusals: RefusalLog::new(&db, REFUSALS_PER_MINUTE),
            refused: RefusedLog::new(),
            db,
            ca,
            devices,
            system_ca,
            config,
        };
        manager
            .seal_older_secrets()
            .await
            .map_err(StartError::Secrets)?;
        Ok(manager)
    }

    /// The job that puts right what crashes leave between the two commits of an enrollment.
    pub fn sweep_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(Sweep(Arc::clone(self)))
    }

    /// The job that gives up approvals which nobody decided on, or whose device did not come back.
    pub fn approval_job(self: &Arc<Self>) -> Arc<dyn Job> {
        Arc::new(ApprovalEnds(Arc::clone(self)))
    }

    /// The reader of the events that outdate what the directory keeps, and what it does with them.
    pub fn directory_subscription(&self) -> (Subscription, Arc<dyn EventHandler>) {
        let handler = Arc::new(ForgetOnChange(Arc::clone(&self.directory)));
        (events::subscription(&self.db), handler)
    }

    /// All background work of the service, until `shutdown`; what is in progress is finished.
    ///
    /// Only stale enrollments are swept. Where nobody else works on the database, whoever starts
    /// the service sweeps [`SweepScope::All`] once before.
    pub async fn run(self: &Arc<Self>, shutdown: &CancellationToken) {
        let (subscription, handler) = self.directory_subscription();
        tokio::join!(
            subscription.run(handler, shutdown),
            run_job(&self.db, self.sweep_job(), shutdown),
            run_job(&self.db, Arc::new(Clean(self.db.clone())), shutdown),
            run_job(&self.db, self.approval_job(), shutdown),
        );
    }

    /// The DMS behind an EST label, or the one for paths without label; as it was at most a moment
    /// ago where another process changes it.
    pub(crate) async fn labelled_dms(&self, label: Option<&DmsId>) -> Result<Arc<Dms>, DmsError> {
        let default = || self.config.default_label(None);
        let label = label
            .cloned()
            .or_else(default)
            .ok_or(DmsError::LabelMissing)?;
        self.directory.dms(&label, self.dms_by_id(&label)).await
    }

    /// The same, for operations that need a DMS which speaks EST.
    pub(crate) async fn est_dms(&self, label: Option<&DmsId>) -> Result<Arc<Dms>, DmsError> {
        let dms = self.labelled_dms(label).await?;
        let is_est = dms.settings.enrollment_settings.protocol == PROTOCOL_EST;
        if is_est {
            Ok(dms)
        } else {
            Err(DmsError::Protocol)
        }
    }

    /// Judges credentials presented with this call, now.
    pub(crate) fn judge<'a>(&'a self, caller: &'a Caller) -> Judge<'a> {
        Judge {
            directory: &self.directory,
            paths: &self.paths,
            config: &self.config,
            caller,
            now: self.db.now(),
        }
    }

    /// Looks up what is revoked.
    pub(crate) fn revocation<'a>(&'a self, caller: &'a Caller) -> RevocationCheck<'a> {
        RevocationCheck {
            ca: &*self.ca,
            directory: &self.directory,
            foreign: &self.foreign,
            caller,
            now: self.db.now(),
        }
    }

    /// Counts an EST operation, and writes a refused credential to the audit log.
    async fn answered<T: metrics::Told>(
        &self,
        operation: Operation<'_>,
        caller: &Caller,
        result: Result<T, DmsError>,
    ) -> Result<T, DmsError> {
        metrics::answered(operation.name, operation.started, &result);
        if let Err(error) = &result {
            let asked = (operation.name, operation.request);
            self.refused.record(&self.db, caller, asked, error).await;
        }
        if let Err(error) = &result
            && is_refused_credential(error)
        {
            let label = operation.request.label.as_ref();
            let resource = label.map_or_else(|| "dms".to_owned(), |label| format!("dms/{label}"));
            let record = AuditRecord::done(caller, operation.audited_as, resource, self.db.now());
            if let Err(error) = self
                .refusals
                .record(record.refused(error.to_string()))
                .await
            {
                tracing::debug!(%error, "refused credential not recorded");
            }
        }
        result
    }
}

/// An EST operation on its way.
struct Operation<'a> {
    /// As in metrics.
    name: &'static str,
    /// As in the audit log.
    audited_as: &'static str,
    started: Instant,
    /// A copy: what is refused is logged with it.
    request: &'a EstRequest,
}

/// Whether the error is about what was presented, not about what was asked for.
fn is_refused_credential(error: &DmsError) -> bool {
    matches!(
        error,
        DmsError::ClientCertificateMissing(_)
            | DmsError::InvalidCertificate(_)
            | DmsError::ExpiredCertificate
            | DmsError::PresentedRevoked
            | DmsError::NoAuthForbidden
            | DmsError::Credential(_)
            | DmsError::Webhook(WebhookRefusal::Denied(_) | WebhookRefusal::Status(400..=499))
            | DmsError::ChannelBinding(_)
    )
}

/// A DMS as it was asked for, in the audit log.
fn named(id: &DmsId) -> String {
    format!("dms/{id}")
}

#[async_trait]
impl DmsService for DmsManager {
    async fn create_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError> {
        let change = ("dms.create", named(&dms.id));
        let created = Box::pin(self.create(caller, dms));
        self.refusals.watch(caller, change, created).await
    }

    async fn dms(&self, _caller: &Caller, id: &DmsId) -> Result<Dms, DmsError> {
        self.dms_by_id(id).await
    }

    async fn dms_list(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Dms>, DmsError> {
        self.list(request).await
    }

    async fn dms_stats(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<DmsStats, DmsError> {
        self.count(request).await
    }

    async fn update_dms(&self, caller: &Caller, dms: Dms) -> Result<Dms, DmsError> {
        let change = ("dms.update", named(&dms.id));
        let updated = Box::pin(self.update(caller, dms));
        self.refusals.watch(caller, change, updated).await
    }

    async fn patch_dms_metadata(
        &self,
        caller: &Caller,
        id: &DmsId,
        operations: Vec<PatchOperation>,
    ) -> Result<Dms, DmsError> {
        let change = ("dms.metadata.update", named(id));
        let patched = self.patch(caller, id, &operations);
        self.refusals.watch(caller, change, patched).await
    }

    async fn delete_dms(&self, caller: &Caller, id: &DmsId) -> Result<(), DmsError> {
        let change = ("dms.delete", named(id));
        let deleted = self.delete(caller, id);
        self.refusals.watch(caller, change, deleted).await
    }

    async fn create_passwords(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: CreatePasswords,
    ) -> Result<NewPasswords, DmsError> {
        let change = ("dms.password.create", format!("{}/passwords", named(id)));
        let made = self.make_passwords(caller, id, request);
        self.refusals.watch(caller, change, made).await
    }

    async fn passwords(
        &self,
        _caller: &Caller,
        id: &DmsId,
        request: &ListRequest,
    ) -> Result<Page<EnrollmentPassword>, DmsError> {
        self.list_passwords(id, request).await
    }

    async fn revoke_password(
        &self,
        caller: &Caller,
        id: &DmsId,
        password: &str,
    ) -> Result<(), DmsError> {
        let resource = format!("{}/passwords/{password}", named(id));
        let change = ("dms.password.revoke", resource);
        let ended = self.end_password(caller, id, password);
        self.refusals.watch(caller, change, ended).await
    }

    async fn dry_run(
        &self,
        caller: &Caller,
        id: &DmsId,
        request: DryRun,
    ) -> Result<DryRunReport, DmsError> {
        let caller = caller.from_source(SOURCE);
        self.try_policy(&caller, id, request).await
    }

    async fn refused_enrollments(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<RefusedEnrollment>, DmsError> {
        self.list_refused(request).await
    }

    async fn bind_device(&self, caller: &Caller, request: BindDevice) -> Result<Binding, DmsError> {
        let change = ("device.bind", format!("device/{}", request.device_id));
        let caller = caller.from_source(SOURCE);
        self.refusals
            .watch(
                &caller,
                change,
                Box::pin(self.bind_by_hand(&caller, request)),
            )
            .await
    }

    async fn ca_certs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Vec<CertificateDer>, DmsError> {
        let started = Instant::now();
        let found = async {
            let dms = self.labelled_dms(label).await?;
            self.check_needless_token(&dms, token)?;
            self.distributed(caller, &dms).await
        }
        .await;
        metrics::answered("cacerts", started, &found);
        found
    }

    async fn csr_attrs(
        &self,
        caller: &Caller,
        label: Option<&DmsId>,
        token: Option<&EstToken>,
    ) -> Result<Bytes, DmsError> {
        let started = Instant::now();
        let found = async {
            let dms = self.labelled_dms(label).await?;
            self.check_needless_token(&dms, token)?;
            let profile = profile::effective(&self.directory, caller, &dms.settings).await?;
            Ok(csr_attrs::for_profile(&profile, channel_binding::mode(&dms)).into())
        };
        let found = found.await;
        metrics::answered("csrattrs", started, &found);
        found
    }

    async fn enroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<CertificateDer>, DmsError> {
        let asked = request.clone();
        let operation = Operation {
            name: "simpleenroll",
            audited_as: "dms.enroll",
            started: Instant::now(),
            request: &asked,
        };
        let caller = caller.from_source(SOURCE);
        let result = self.enroll_device(&caller, request).await;
        self.answered(operation, &caller, result).await
    }

    async fn server_keygen(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<Outcome<GeneratedKey>, DmsError> {
        let asked = request.clone();
        let operation = Operation {
            name: "serverkeygen",
            audited_as: "dms.serverkeygen",
            started: Instant::now(),
            request: &asked,
        };
        let caller = caller.from_source(SOURCE);
        let result = self.generate_key(&caller, request).await;
        self.answered(operation, &caller, result).await
    }

    async fn reenroll(
        &self,
        caller: &Caller,
        request: EstRequest,
    ) -> Result<CertificateDer, DmsError> {
        let asked = request.clone();
        let operation = Operation {
            name: "simplereenroll",
            audited_as: "dms.reenroll",
            started: Instant::now(),
            request: &asked,
        };
        let caller = caller.from_source(SOURCE);
        let result = self.reenroll_device(&caller, request).await;
        self.answered(operation, &caller, result).await
    }

    async fn approval(&self, _caller: &Caller, id: &ApprovalId) -> Result<Approval, DmsError> {
        Ok(self.approval_by_id(id).await?.approval)
    }

    async fn approvals(
        &self,
        _caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Approval>, DmsError> {
        self.list_approvals(request).await
    }

    async fn decide_approval(
        &self,
        caller: &Caller,
        id: &ApprovalId,
        decision: Decision,
    ) -> Result<Approval, DmsError> {
        let operation = match decision.verdict {
            Verdict::Approve => "dms.approval.approve",
            Verdict::Deny => "dms.approval.deny",
        };
        let change = (operation, format!("approval/{id}"));
        self.refusals
            .watch(caller, change, self.decide(caller, id, decision))
            .await
    }

    async fn sweep_enrollments(&self, caller: &Caller, scope: SweepScope) -> Result<u32, DmsError> {
        self.sweep(&caller.from_source(SOURCE), scope).await
    }
}
