//! The directory as a map from handle to content, on disk. Every method blocks.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lamassu_core::crypto_engine::KeyHandle;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::error::{KeyFileError, OpenError};

/// No key file is longer; RSA of 8192 bits takes 9 kB encrypted.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// How names of files begin that are being written. No handle begins so.
const UNFINISHED: &str = ".new-";

/// A directory that only its owner may enter.
#[derive(Debug)]
pub(crate) struct KeyDirectory(PathBuf);

impl KeyDirectory {
    /// Creates or tightens the directory, and sweeps what a crash left.
    pub(crate) fn open(path: PathBuf) -> Result<Self, OpenError> {
        let unusable = |cause| OpenError::Directory(path.clone(), cause);
        create(&path).map_err(unusable)?;
        tighten(&path)?;
        sweep_unfinished(&path).map_err(unusable)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn location(&self) -> &Path {
        &self.0
    }

    /// The file of `handle`. Handles hold nothing that could lead elsewhere.
    pub(crate) fn path(&self, handle: &KeyHandle) -> PathBuf {
        self.0.join(handle.as_str())
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, handle: &KeyHandle) -> Result<bool, KeyFileError> {
        let path = self.path(handle);
        path.try_exists()
            .map_err(|cause| KeyFileError::Io(path, cause))
    }

    /// The content. What is longer than a key file can be is cut, and then is no key.
    pub(crate) fn read(&self, handle: &KeyHandle) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let path = self.path(handle);
        // Room for all usual keys, so that growing leaves no copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let read =
            File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut content));
        match read {
            Ok(_) => Ok(content),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                Err(KeyFileError::Missing(path))
            }
            Err(cause) => Err(KeyFileError::Io(path, cause)),
        }
    }

    /// Writes a file that appears whole and durably, or not at all, and never replaces another.
    pub(crate) fn create(&self, handle: &KeyHandle, content: &[u8]) -> Result<(), KeyFileError> {
        let path = self.path(handle);
        let created = self.write_unfinished(content).and_then(|unfinished| {
            // Unlike renaming, linking fails when the name is taken.
            let linked = fs::hard_link(&unfinished.path, &path);
            discard(&unfinished.path);
            linked.and_then(|()| self.sync())
        });
        created.map_err(|cause| {
            if cause.kind() == io::ErrorKind::AlreadyExists {
                KeyFileError::Exists(path)
            } else {
                KeyFileError::Io(path, cause)
            }
        })
    }

    /// As [`create`](Self::create), in the place of what has that name.
    pub(crate) fn replace(&self, handle: &KeyHandle, content: &[u8]) -> Result<(), KeyFileError> {
        let path = self.path(handle);
        self.write_unfinished(content)
            .and_then(|unfinished| fs::rename(&unfinished.path, &path))
            .and_then(|()| self.sync())
            .map_err(|cause| KeyFileError::Io(path, cause))
    }

    /// Removes the file durably. None is no error.
    pub(crate) fn remove(&self, handle: &KeyHandle) -> Result<(), KeyFileError> {
        let path = self.path(handle);
        match fs::remove_file(&path).and_then(|()| self.sync()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(KeyFileError::Io(path, cause))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The first `limit` names behind `after` that can be handles, in order.
    pub(crate) fn names(
        &self,
        after: Option<&KeyHandle>,
        limit: usize,
    ) -> Result<BTreeSet<KeyHandle>, KeyFileError> {
        let failed = |cause| KeyFileError::Io(self.0.clone(), cause);
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let handle = name.to_str().and_then(|name| KeyHandle::try_new(name).ok());
            names.extend(handle.filter(|handle| Some(handle) > after));
            if names.len() > limit {
                names.pop_last();
            }
        }
        Ok(names)
    }

    fn write_unfinished(&self, content: &[u8]) -> io::Result<Unfinished> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
        let path = self.0.join(format!("{UNFINISHED}{}", hex::encode(random)));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let written = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(content))
            .and_then(|()| file.sync_all());
        if let Err(cause) = written {
            discard(&path);
            return Err(cause);
        }
        Ok(Unfinished { path, _file: file })
    }

    /// Makes names durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// A file that has its content but not its name yet.
struct Unfinished {
    path: PathBuf,
    /// Locked as long as it is open.
    _file: File,
}

/// Creates the directory where it is missing, so that it is there after a power cut: otherwise keys
/// would be gone with it whose rows are not.
fn create(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    for parent in missing.iter().filter_map(|created| created.parent()) {
        // A relative path begins in the working directory.
        let parent = Some(parent).filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Takes access from group and others, which older installations left to them.
fn tighten(directory: &Path) -> Result<(), OpenError> {
    let metadata = fs::metadata(directory)
        .map_err(|cause| OpenError::Directory(directory.to_owned(), cause))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .map_err(|cause| OpenError::Permissions(directory.to_owned(), cause))?;
    tracing::warn!(directory = %directory.display(), "key directory closed to other users");
    Ok(())
}

/// Removes what a crash left half written. A writer holds a lock on its file, which dies with
/// it, so that files of another living process are spared.
fn sweep_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
            && let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            discard(&entry.path());
            tracing::warn!(file = %entry.path().display(), "unfinished key file removed");
        }
    }
    Ok(())
}

/// Removes an unfinished file. What cannot be removed now is swept at the next start.
fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "unfinished key file not removed");
    }
}
