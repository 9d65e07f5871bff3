//! The data directory and its lock.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::error::OpenError;

/// The file whose lock is the directory's.
const LOCK_FILE: &str = "lock";

/// A directory (mode 0700) that this process alone works on, for as long as a clone of this lives.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: Arc<Path>,
    _lock: Arc<File>,
}

impl DataDir {
    /// Creates the directory where it is missing and locks it.
    ///
    /// The lock is the kernel's (`flock`), so it ends with the process however that ends; the
    /// process id in the lock file is only for the message to the second process.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] naming the process that holds it; [`OpenError::Directory`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path: PathBuf = path.into();
        let fail = |source: io::Error| OpenError::Directory {
            path: path.clone(),
            source,
        };
        create_private_dir(&path).map_err(fail)?;
        let mut lock = private_file(&path.join(LOCK_FILE)).map_err(fail)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = holder(&path.join(LOCK_FILE));
                return Err(OpenError::InUse { path, pid });
            }
            Err(errno) => return Err(fail(errno.into())),
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).map_err(fail)?;
        record_holder(&mut lock).map_err(fail)?;
        Ok(Self {
            path: path.into(),
            _lock: Arc::new(lock),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory (mode 0700) where it is missing, with its parents, so that it is there after
/// a power cut: what is synced in a directory is lost with it otherwise.
///
/// # Errors
///
/// What the system says.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for parent in missing.iter().filter_map(|created| created.parent()) {
        // A relative path begins in the working directory.
        let parent = Some(parent).filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Opens a file for reading and writing, created with mode 0600 where it is missing.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The process id in the lock file, 0 when there is none.
fn holder(lock: &Path) -> u32 {
    std::fs::read_to_string(lock)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default()
}

fn record_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    lock.flush()
}
