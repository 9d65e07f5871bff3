//! The services of other processes: where they are, and how this process proves who it is.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lamassu_auth::LocalIssuer;
use lamassu_client::{
    CaClient, ClientConfig, DeviceClient, DmsClient, KmsClient, Peer, Protocol, VaClient, Wallet,
};
use lamassu_core::ca::CaService;
use lamassu_core::clock::SharedClock;
use lamassu_core::device::DeviceManager;
use lamassu_core::dms::DmsService;
use lamassu_core::kms::KmsService;
use lamassu_core::permission::Role;
use lamassu_core::va::VaService;
use tracing::warn;

use crate::config::Config;
use crate::own_tokens::OwnTokens;

/// Makes clients.
#[derive(Debug)]
pub(crate) struct Peers<'c> {
    config: &'c Config,
    wallet: Wallet,
}

impl<'c> Peers<'c> {
    pub(crate) fn new(config: &'c Config, issuer: &Arc<LocalIssuer>, clock: &SharedClock) -> Self {
        let tokens = OwnTokens::new(issuer, clock, "lamassu", Role::Service);
        Self {
            config,
            wallet: Wallet::new(Arc::new(tokens)),
        }
    }

    /// `source` is the service that calls, as events name it; empty where calls are passed on.
    fn peer(&self, block: &str, config: &ClientConfig, source: &str) -> Result<Peer> {
        ensure!(
            !config.hostname.is_empty(),
            "{block}.hostname is missing: it says where the service is that does not run here"
        );
        if config.insecure_skip_verify && config.protocol == Protocol::Https {
            warn!(
                block,
                "insecure_skip_verify is on: whoever answers at this address is believed to be the \
                 service, and gets the credentials for it"
            );
        }
        self.wallet
            .credentials(config)
            .and_then(|credentials| Peer::new(config, source, credentials))
            .with_context(|| block.to_owned())
    }

    pub(crate) fn kms(&self, source: &str) -> Result<Arc<dyn KmsService>> {
        let peer = self.peer("kms_client", &self.config.kms_client, source)?;
        Ok(Arc::new(KmsClient::new(&peer)))
    }

    pub(crate) fn ca(&self, source: &str) -> Result<Arc<dyn CaService>> {
        let peer = self.peer("ca_client", &self.config.ca_client, source)?;
        Ok(Arc::new(CaClient::new(&peer)))
    }

    pub(crate) fn devices(&self, source: &str) -> Result<Arc<dyn DeviceManager>> {
        let config = &self.config.device_manager_client;
        let peer = self.peer("device_manager_client", config, source)?;
        Ok(Arc::new(DeviceClient::new(&peer)))
    }

    /// Whether the configuration says where the DMS manager is.
    pub(crate) fn knows_dms(&self) -> bool {
        !self.config.dms_manager_client.hostname.is_empty()
    }

    pub(crate) fn dms(&self, source: &str) -> Result<Arc<dyn DmsService>> {
        let config = &self.config.dms_manager_client;
        let peer = self.peer("dms_manager_client", config, source)?;
        Ok(Arc::new(DmsClient::new(&peer)))
    }

    pub(crate) fn va(&self, source: &str) -> Result<Arc<dyn VaService>> {
        let peer = self.peer("va_client", &self.config.va_client, source)?;
        Ok(Arc::new(VaClient::new(&peer)))
    }
}
