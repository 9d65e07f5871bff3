//! CRL files: one folder per key identifier in the blob store, one PEM file per CRL; delta CRLs in a
//! and CRLs of shards in folders below.
//!
//! A file is written before the row of the role points at it and is never written again, so what
//! a row points at is whole. What no row points at, because a process died in between or somebody
//! else made the same CRL first, is swept.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::pem::{PemError, PemLabel, der_to_pem, pem_to_der};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use uuid::Uuid;

use crate::store::role::{CrlFile, StoredRole};
use crate::store::shard::StoredShard;

/// A series of CRLs with a folder of its own, and the newest of them.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    folder: Path,
    newest: u64,
    file: CrlFile,
}

impl Series {
    /// The complete CRLs of a role.
    pub(crate) fn complete(role: &StoredRole) -> Self {
        Self {
            folder: Path::from(format!("{CRL_ROOT}/{}", role.role.ca_ski)),
            newest: role.number(),
            file: role.file.clone(),
        }
    }

    /// Its delta CRLs.
    pub(crate) fn delta(role: &StoredRole) -> Self {
        Self {
            folder: Path::from(format!("{CRL_ROOT}/{}/delta", role.role.ca_ski)),
            newest: role.delta.crl.version,
            file: role.delta.file.clone(),
        }
    }

    /// The CRLs of a shard.
    pub(crate) fn shard(stored: &StoredShard) -> Self {
        let (ski, shard) = (&stored.ca_ski, stored.shard);
        Self {
            folder: Path::from(format!("{CRL_ROOT}/{ski}/shards/{shard}")),
            newest: stored.crl.version,
            file: stored.file.clone(),
        }
    }

    /// The file of the newest one.
    pub(crate) fn file(&self) -> &CrlFile {
        &self.file
    }

    fn at(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }
}

/// Where the folders are in the blob store.
pub const CRL_ROOT: &str = "pki/va/crl";

/// Why a CRL file was not written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The blob store failed.
    #[error("the CRL storage failed")]
    Store(#[from] object_store::Error),
    /// The file is no PEM.
    #[error("the CRL file is no PEM")]
    Pem(#[from] PemError),
    /// The process is ending.
    #[error("the CRL file was not finished")]
    Unfinished(#[from] tokio::task::JoinError),
    /// The file holds another CRL than the role points at.
    #[error("the CRL file was changed")]
    Digest,
}

impl FileError {
    /// Whether the file is gone or damaged for good, rather than out of reach for a while.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, object_store::Error::NotFound { .. }),
            Self::Unfinished(_) => false,
            Self::Pem(_) | Self::Digest => true,
        }
    }
}

/// What a sweep removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Files of CRLs too old to be kept, and others than the newest CRL's under its number. Safe
    /// at any time, even where `newest` is not the newest any more.
    Behind,
    /// Also those ahead of the newest CRL: somebody died before the role pointed at them. Not
    /// while somebody may be making the next CRL.
    BehindAndAhead,
}

/// The CRL files; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CrlFiles {
    blobs: Arc<dyn ObjectStore>,
    keep_last_n: u32,
}

impl CrlFiles {
    /// `keep_last_n` is how many CRLs of each CA a sweep leaves; 0 for all.
    pub(crate) fn new(blobs: Arc<dyn ObjectStore>, keep_last_n: u32) -> Self {
        Self { blobs, keep_last_n }
    }

    /// Where all files are.
    pub(crate) fn blobs(&self) -> &dyn ObjectStore {
        self.blobs.as_ref()
    }

    /// Writes a CRL to a file of its own: `<number>.crl`, unless that name was used up by an
    /// attempt that came to nothing.
    pub(crate) async fn write(
        &self,
        series: &Series,
        number: u64,
        der: &Bytes,
    ) -> Result<CrlFile, FileError> {
        let der = der.clone();
        // A long list takes a while.
        let (digest, pem) = tokio::task::spawn_blocking(move || {
            (digest(&der), Bytes::from(der_to_pem(PemLabel::Crl, &der)))
        })
        .await?;
        let name = format!("{number}.crl");
        let name = match self.create(series, &name, pem.clone()).await {
            Ok(()) => name,
            Err(object_store::Error::AlreadyExists { .. }) => {
                let name = format!("{number}-{}.crl", Uuid::new_v4().simple());
                self.create(series, &name, pem).await?;
                name
            }
            // A bucket without conditional writes: a name that nobody else has needs none.
            Err(object_store::Error::NotImplemented { .. }) => {
                let name = format!("{number}-{}.crl", Uuid::new_v4().simple());
                self.blobs.put(&series.at(&name), pem.into()).await?;
                name
            }
            Err(error) => return Err(error.into()),
        };
        Ok(CrlFile { name, digest })
    }

    async fn create(
        &self,
        series: &Series,
        name: &str,
        pem: Bytes,
    ) -> Result<(), object_store::Error> {
        let options = PutOptions::from(PutMode::Create);
        let location = series.at(name);
        self.blobs.put_opts(&location, pem.into(), options).await?;
        Ok(())
    }

    /// The DER of the newest CRL, exactly as it was written.
    pub(crate) async fn read(&self, series: &Series) -> Result<Bytes, FileError> {
        let stored = self.blobs.get(&series.at(&series.file.name)).await?;
        let pem = stored.bytes().await?;
        let wanted = series.file.digest.clone();
        tokio::task::spawn_blocking(move || {
            let der = pem_to_der(&pem)?;
            if digest(&der) == wanted {
                Ok(der.into())
            } else {
                Err(FileError::Digest)
            }
        })
        .await?
    }

    /// Removes the files of a series that nobody needs.
    pub(crate) async fn sweep(&self, series: &Series, sweep: Sweep) -> Result<(), FileError> {
        let found = self.blobs.list_with_delimiter(Some(&series.folder)).await?;
        for file in found.objects {
            let needed = file
                .location
                .filename()
                .is_none_or(|name| self.is_needed(name, series, sweep));
            if !needed {
                self.blobs.delete(&file.location).await?;
            }
        }
        Ok(())
    }

    /// Files whose names say nothing to us are left alone.
    fn is_needed(&self, name: &str, series: &Series, sweep: Sweep) -> bool {
        let Some(number) = number_in(name) else {
            return true;
        };
        let newest = series.newest;
        // Beside a file there may be one that describes it.
        let described = name.strip_suffix(".attrs").unwrap_or(name);
        match number.cmp(&newest) {
            Ordering::Greater => sweep == Sweep::Behind,
            Ordering::Equal => described == series.file.name,
            Ordering::Less => {
                self.keep_last_n == 0 || number.saturating_add(u64::from(self.keep_last_n)) > newest
            }
        }
    }
}

/// The CRL number in a file's name: `7.crl`, `7-<anything>.crl`, `7.crl.attrs`.
fn number_in(name: &str) -> Option<u64> {
    let name = name.strip_suffix(".attrs").unwrap_or(name);
    let stem = name.strip_suffix(".crl")?;
    let (number, _) = stem.split_once('-').unwrap_or((stem, ""));
    number.parse().ok()
}

fn digest(der: &[u8]) -> String {
    hex::encode(HashAlgorithm::Sha256.digest(der))
}
