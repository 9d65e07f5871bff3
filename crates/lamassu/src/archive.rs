//! The file that a backup is: tar, compressed with gzip, everything streamed.
//!
//! First comes `manifest.json`, then the files of the installation under their names in the data
//! directory, last `SHA256SUMS` over all of them, in the form that `sha256sum -c` reads. A file
//! without that last member is cut. Ordinary tools open it: `tar tzf`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lamassu_core::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

/// The one format that there is.
pub(crate) const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const DIGESTS: &str = "SHA256SUMS";

/// No manifest is longer.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// Digests of some two million files.
const MAX_DIGESTS: u64 = 256 * 1024 * 1024;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Of the file; [`FORMAT`].
    pub(crate) format: u32,
    /// Version of the program that wrote it.
    pub(crate) version: String,
    /// Which installation it is of.
    pub(crate) installation_id: String,
    /// When the copy of the database was begun.
    pub(crate) created_at: Timestamp,
    /// Folders with keys or CRLs that were outside of the data directory, by their place in the
    /// backup.
    pub(crate) moved: BTreeMap<String, PathBuf>,
}

/// Writes a backup.
pub(crate) struct ArchiveWriter<W: Write> {
    tar: Builder<GzEncoder<W>>,
    digests: String,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins with the manifest.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn new(out: W, manifest: &Manifest) -> Result<Self> {
        let mut writer = Self {
            tar: Builder::new(GzEncoder::new(out, Compression::fast())),
            digests: String::new(),
        };
        let manifest = serde_json::to_vec_pretty(manifest)?;
        writer.bytes(MANIFEST, &manifest)?;
        Ok(writer)
    }

    /// Adds a file under a name.
    ///
    /// # Errors
    /// It cannot be read, changes its size meanwhile, or `out` cannot be written.
    pub(crate) fn file(&mut self, name: &str, file: &File) -> Result<()> {
        let metadata = file.metadata()?;
        let mut header = Header::new_gnu();
        header.set_metadata(&metadata);
        // Owner and times mean nothing elsewhere.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(metadata.permissions().mode() & 0o644);
        self.append(name, header, metadata.len(), file)
    }

    fn bytes(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let length = u64::try_from(content.len())?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(length);
        header.set_mode(0o600);
        self.append(name, header, length, content)
    }

    fn append(
        &mut self,
        name: &str,
        mut header: Header,
        length: u64,
        content: impl Read,
    ) -> Result<()> {
        let mut content = Digesting::new(content.take(length));
        self.tar
            .append_data(&mut header, name, &mut content)
            .with_context(|| format!("{name} cannot be written to the backup"))?;
        let (found, sha256) = content.finish();
        ensure!(found == length, "{name} changed while it was read");
        self.digests.push_str(&format!("{sha256}  {name}\n"));
        Ok(())
    }

    /// Ends with the digests.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn finish(mut self) -> Result<W> {
        let digests = std::mem::take(&mut self.digests);
        self.bytes(DIGESTS, digests.as_bytes())?;
        Ok(self.tar.into_inner()?.finish()?)
    }
}

/// Unpacks a backup into an empty directory and compares every digest. The files are on disk then,
/// their names too. Whoever calls this throws the directory away when it fails.
///
/// # Errors
/// The file is no backup, of a newer format, damaged or cut; or the directory cannot be written.
pub(crate) fn unpack(input: impl Read, into: &Path) -> Result<Manifest> {
    let mut archive = Archive::new(GzDecoder::new(input));
    let mut contents = Contents::default();
    for entry in archive.entries().context("this is no backup")? {
        let mut entry = entry.context("the file is damaged or cut")?;
        let name = member_name(&entry.path()?, entry.header().entry_type())?;
        match name.as_str() {
            MANIFEST => contents.manifest = Some(manifest(&mut entry, &mut contents.found)?),
            _ if contents.manifest.is_none() => bail!("this is no backup: it has no manifest"),
            _ if contents.digests.is_some() => bail!("the file is damaged: {name} has no digest"),
            DIGESTS => contents.digests = Some(expected(&mut entry)?),
            _ => {
                let mode = entry.header().mode()?;
                let digest = contents.store(&into.join(&name), mode, &mut entry);
                let digest = digest.with_context(|| format!("{name} cannot be unpacked"))?;
                ensure!(
                    contents.found.insert(name.clone(), digest).is_none(),
                    "the file is damaged: {name} is in it twice"
                );
            }
        }
    }
    // To the very end: there the checksums of compression and encryption are.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("the file is damaged or cut")?;
    contents.settled(into)
}

#[derive(Default)]
struct Contents {
    manifest: Option<Manifest>,
    /// Digest by name, as unpacked.
    found: BTreeMap<String, String>,
    /// Digest by name, as written.
    digests: Option<BTreeMap<String, String>>,
    directories: BTreeSet<PathBuf>,
}

impl Contents {
    /// Writes one file, durably; gives its digest.
    fn store(&mut self, path: &Path, mode: u32, content: &mut impl Read) -> Result<String> {
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            self.directories
                .extend(directory.ancestors().map(Path::to_owned));
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600 | (mode & 0o044))
            .open(path)?;
        let mut content = Digesting::new(content);
        io::copy(&mut content, &mut file)?;
        file.sync_all()?;
        Ok(content.finish().1)
    }

    fn settled(self, into: &Path) -> Result<Manifest> {
        let manifest = self.manifest.context("this is no backup: it is empty")?;
        let expected = self.digests.context("the file is cut")?;
        ensure!(
            expected == self.found,
            "the file is damaged: digests do not agree"
        );
        for directory in self.directories {
            if directory.starts_with(into) {
                File::open(&directory)?.sync_all()?;
            }
        }
        Ok(manifest)
    }
}

fn manifest(entry: &mut impl Read, found: &mut BTreeMap<String, String>) -> Result<Manifest> {
    let mut content = Vec::new();
    let mut entry = Digesting::new(entry.take(MAX_MANIFEST));
    entry.read_to_end(&mut content)?;
    found.insert(MANIFEST.to_owned(), entry.finish().1);
    let value: serde_json::Value = serde_json::from_slice(&content).context("the manifest")?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    ensure!(
        format == Some(u64::from(FORMAT)),
        "the backup has format {}, this program knows {FORMAT}",
        format.unwrap_or_default()
    );
    serde_json::from_value(value).context("the manifest")
}

fn expected(entry: &mut impl Read) -> Result<BTreeMap<String, String>> {
    let mut text = String::new();
    entry.take(MAX_DIGESTS).read_to_string(&mut text)?;
    text.lines()
        .map(|line| {
            let (digest, name) = line.split_once("  ").context("the digests are damaged")?;
            Ok((name.to_owned(), digest.to_owned()))
        })
        .collect()
}

/// A name that stays inside of the directory it is unpacked to.
fn member_name(path: &Path, kind: EntryType) -> Result<String> {
    let stays = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let name = path
        .to_str()
        .filter(|_| stays && kind == EntryType::Regular);
    let name = name.with_context(|| format!("{} does not belong in a backup", path.display()))?;
    Ok(name.to_owned())
}

/// Passes bytes on, counts and digests them.
struct Digesting<R> {
    inner: R,
    context: digest::Context,
    length: u64,
}

impl<R> Digesting<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            context: digest::Context::new(&digest::SHA256),
            length: 0,
        }
    }

    /// Length, and SHA-256 in lower-case hex.
    fn finish(self) -> (u64, String) {
        (self.length, hex::encode(self.context.finish()))
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.context.update(buffer.get(..n).unwrap_or_default());
        self.length = self
            .length
            .saturating_add(u64::try_from(n).unwrap_or_default());
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read as _, Write as _};

    use aws_lc_rs::digest::{SHA256, digest};
    use flate2::Compression;
    use flate2::read::GzDecoder;
    use flate2::write::GzEncoder;
    use lamassu_core::timestamp::Timestamp;
    use proptest::prelude::*;
    use tar::{Builder, EntryType, Header};
    use tempfile::TempDir;

    use super::{ArchiveWriter, FORMAT, Manifest, unpack};

    fn manifest(format: u32) -> Manifest {
        Manifest {
            format,
            version: "1".to_owned(),
            installation_id: "x".to_owned(),
            created_at: Timestamp::ZERO,
            moved: BTreeMap::new(),
        }
    }

    fn sums(members: &[(&str, &[u8])]) -> Vec<u8> {
        let line = |(name, content): &(&str, &[u8])| {
            let sha256 = hex::encode(digest(&SHA256, content));
            format!("{sha256}  {name}\n")
        };
        members.iter().map(line).collect::<String>().into_bytes()
    }

    /// Name, kind, content.
    type Member<'a> = (&'a str, EntryType, &'a [u8]);

    /// A file as no writer of ours makes it: names and kinds are taken as they are.
    fn crafted(members: &[Member<'_>]) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in members {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn refusal(file: &[u8]) -> String {
        let directory = TempDir::new().unwrap();
        let into = directory.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let error = unpack(file, &into).unwrap_err();
        let outside: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(outside.len(), 1, "something was written outside");
        error.to_string()
    }

    #[test]
    fn what_is_written_is_unpacked() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "secret").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let mut writer = ArchiveWriter::new(Vec::new(), &manifest(FORMAT)).unwrap();
        // Longer than the header of an archive has room for.
        let name = format!("keys/{}", "k".repeat(180));
        writer.file(&name, &file).unwrap();
        let archive = writer.finish().unwrap();
        let into = directory.path().join("into");
        std::fs::create_dir(&into).unwrap();
        assert_eq!(unpack(&*archive, &into).unwrap(), manifest(FORMAT));
        assert_eq!(std::fs::read(into.join(name)).unwrap(), b"secret");
    }

    #[test]
    fn nothing_leaves_the_directory() {
        let first = serde_json::to_vec(&manifest(FORMAT)).unwrap();
        for (name, kind) in [
            ("../escaped", EntryType::Regular),
            ("keys/../../escaped", EntryType::Regular),
            ("/tmp/escaped", EntryType::Regular),
            ("keys", EntryType::Symlink),
            ("keys", EntryType::Link),
            ("keys", EntryType::Directory),
            ("keys", EntryType::Char),
        ] {
            let file = crafted(&[
                ("manifest.json", EntryType::Regular, &first),
                (name, kind, b""),
            ]);
            let expected = format!("{name} does not belong in a backup");
            assert_eq!(refusal(&file), expected);
        }
    }

    #[test]
    fn what_is_no_whole_backup_of_this_format_is_refused() {
        let regular = EntryType::Regular;
        let first = serde_json::to_vec(&manifest(FORMAT)).unwrap();
        let newer = serde_json::to_vec(&manifest(FORMAT + 1)).unwrap();
        let sums_of_first = sums(&[("manifest.json", &first)]);
        let cases: [(&[Member<'_>], &str); 6] = [
            (&[], "this is no backup: it is empty"),
            (
                &[("x", regular, b"x")],
                "this is no backup: it has no manifest",
            ),
            (
                &[("manifest.json", regular, &newer)],
                "the backup has format 2, this program knows 1",
            ),
            (&[("manifest.json", regular, &first)], "the file is cut"),
            (
                &[
                    ("manifest.json", regular, &first),
                    ("x", regular, b"x"),
                    ("SHA256SUMS", regular, &sums_of_first),
                ],
                "the file is damaged: digests do not agree",
            ),
            (
                &[
                    ("manifest.json", regular, &first),
                    ("SHA256SUMS", regular, &sums_of_first),
                    ("x", regular, b"x"),
                ],
                "the file is damaged: x has no digest",
            ),
        ];
        for (members, expected) in cases {
            assert_eq!(refusal(&crafted(members)), expected);
        }
        let mut text = GzEncoder::new(Vec::new(), Compression::fast());
        text.write_all(b"hello").unwrap();
        refusal(&text.finish().unwrap());
        refusal(b"hello");
    }

    /// A whole backup with these files, as a tar before it is compressed.
    fn whole(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let first = serde_json::to_vec(&manifest(FORMAT)).unwrap();
        let mut named: Vec<_> = vec![("manifest.json", first.as_slice())];
        named.extend(
            files
                .iter()
                .map(|(name, content)| (name.as_str(), content.as_slice())),
        );
        let digests = sums(&named);
        let members = named.iter().copied().chain([("SHA256SUMS", &*digests)]);
        let members: Vec<Member<'_>> = members
            .map(|(name, content)| (name, EntryType::Regular, content))
            .collect();
        let mut tar = Vec::new();
        GzDecoder::new(&*crafted(&members))
            .read_to_end(&mut tar)
            .unwrap();
        tar
    }

    fn compressed(tar: &[u8]) -> Vec<u8> {
        let mut file = GzEncoder::new(Vec::new(), Compression::none());
        file.write_all(tar).unwrap();
        file.finish().unwrap()
    }

    /// Unpacks a file; nothing is outside of the directory whatever becomes of it. Names with
    /// contents, if it was accepted.
    fn unpacked(file: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
        let directory = TempDir::new().unwrap();
        let into = directory.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let outcome = unpack(file, &into);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        outcome.ok()?;
        let mut files = BTreeMap::new();
        let mut folders = vec![into.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&into).unwrap().to_str().unwrap();
                    files.insert(name.to_owned(), std::fs::read(&path).unwrap());
                }
            }
        }
        Some(files)
    }

    fn files() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
        let content = proptest::collection::vec(any::<u8>(), 0..700);
        proptest::collection::btree_map("(keys|tls|crl/pki)/[a-z0-9-]{1,12}", content, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_changed_is_refused_or_the_same(
            files in files(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let listed: Vec<_> = files.clone().into_iter().collect();
            let mut tar = whole(&listed);
            for (at, byte) in &edits {
                let at = at.index(tar.len());
                tar[at] = *byte;
            }
            if let Some(cut) = &cut {
                tar.truncate(cut.index(tar.len()));
            }
            match unpacked(&compressed(&tar)) {
                Some(found) => prop_assert_eq!(found, files),
                None => prop_assert!(!edits.is_empty() || cut.is_some()),
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(unpacked(&bytes), None);
            prop_assert_eq!(unpacked(&compressed(&bytes)), None);
        }
    }
}
