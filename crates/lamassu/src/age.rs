//! Encryption of a stream under a passphrase, in the format of `age` (age-encryption.org/v1).
//!
//! Backups outlive programs, so the format is one that a second, independent program reads:
//! `age -d` opens what is written here. It is a passphrase through scrypt, a file key of its own,
//! and ChaCha20-Poly1305 over chunks that are numbered and of which the last one says so; what was
//! cut, swapped or changed does not open. Only this one kind of recipient is here; the crate `age`
//! brings plug-ins, SSH keys and a translation system along.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// How an encrypted file begins.
pub(crate) const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// Bytes of plain text per chunk.
const CHUNK: usize = 64 * 1024;
/// What a chunk grows by.
const TAG: usize = 16;
/// scrypt's cost as a power of two: 128 MiB and part of a second per attempt.
const WORK_FACTOR: u8 = 17;
/// Highest cost that is paid for reading, so that a crafted file does not eat the machine: 1 GiB.
const MAX_WORK_FACTOR: u8 = 20;
/// scrypt's block size.
const BLOCKS: u32 = 8;
/// Longest line of a header.
const MAX_LINE: u64 = 256;

type FileKey = Zeroizing<[u8; 16]>;
type Key = Zeroizing<[u8; 32]>;

/// Encrypts what is written to it.
pub(crate) struct Encryptor<W> {
    out: W,
    key: LessSafeKey,
    chunks: u64,
    /// At most one chunk; kept until more comes, since the last one is sealed differently.
    pending: Zeroizing<Vec<u8>>,
}

impl<W: Write> Encryptor<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn new(out: W, passphrase: &SecretString) -> Result<Self> {
        Self::with_work_factor(out, passphrase, WORK_FACTOR)
    }

    fn with_work_factor(mut out: W, passphrase: &SecretString, cost: u8) -> Result<Self> {
        let file_key: FileKey = Zeroizing::new(random()?);
        let salt: [u8; 16] = random()?;
        let mut body = file_key.to_vec();
        wrapping_key(passphrase, &salt, cost)?
            .seal_in_place_append_tag(nonce(0, Place::Within), Aad::empty(), &mut body)
            .context("the file key cannot be encrypted")?;
        let header = format!(
            "age-encryption.org/v1\n-> scrypt {} {cost}\n{}\n---",
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(body),
        );
        let tag = hmac::sign(&header_key(&file_key)?, header.as_bytes());
        let seed: [u8; 16] = random()?;
        writeln!(out, "{header} {}", STANDARD_NO_PAD.encode(tag))?;
        out.write_all(&seed)?;
        Ok(Self {
            out,
            key: payload_key(&file_key, &seed)?,
            chunks: 0,
            pending: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)),
        })
    }

    /// Writes the last chunk; without it nothing opens.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.seal(Place::Last)?;
        Ok(self.out)
    }

    fn seal(&mut self, place: Place) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(self.chunks, place), Aad::empty(), &mut *self.pending)
            .map_err(|_| io::Error::other("a chunk cannot be encrypted"))?;
        self.out.write_all(&self.pending)?;
        self.pending.clear();
        self.chunks = self.chunks.saturating_add(1);
        Ok(())
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() == CHUNK && !bytes.is_empty() {
            self.seal(Place::Within)?;
        }
        let room = CHUNK.saturating_sub(self.pending.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.pending.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts what is read from it. Every byte that it gives is authentic and in its place; that
/// nothing is missing is known at its end.
pub(crate) struct Decryptor<R> {
    input: R,
    key: LessSafeKey,
    chunks: u64,
    chunk: Zeroizing<Vec<u8>>,
    given: usize,
    ended: bool,
}

impl<R: BufRead> Decryptor<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The passphrase is wrong, or this is no file that a passphrase opens.
    pub(crate) fn new(mut input: R, passphrase: &SecretString) -> Result<Self> {
        let mut header = String::new();
        for _ in 0..4 {
            let n = input.by_ref().take(MAX_LINE).read_line(&mut header);
            ensure!(
                n.context("the header cannot be read")? > 0,
                "the file is cut"
            );
        }
        let (signed, tag) = header
            .strip_suffix('\n')
            .and_then(|header| header.rsplit_once(' '))
            .context("the header is damaged")?;
        let lines: Vec<&str> = signed.split('\n').collect();
        let &["age-encryption.org/v1", stanza, body, "---"] = lines.as_slice() else {
            bail!("the file is encrypted, but not under one passphrase");
        };
        let (salt, cost) = stanza
            .strip_prefix("-> scrypt ")
            .and_then(|arguments| arguments.split_once(' '))
            .context("the file is encrypted, but not under a passphrase")?;
        let salt = STANDARD_NO_PAD
            .decode(salt)
            .context("the header is damaged")?;
        let cost: u8 = cost.parse().context("the header is damaged")?;
        ensure!(
            (1..=MAX_WORK_FACTOR).contains(&cost),
            "the header asks for more work than a backup does"
        );
        let mut body = Zeroizing::new(
            STANDARD_NO_PAD
                .decode(body)
                .context("the header is damaged")?,
        );
        let opened = wrapping_key(passphrase, &salt, cost)?
            .open_in_place(nonce(0, Place::Within), Aad::empty(), &mut body)
            .ok()
            .context("the passphrase is wrong, or the header is damaged")?;
        let file_key: FileKey =
            Zeroizing::new((&*opened).try_into().context("the header is damaged")?);
        let tag = STANDARD_NO_PAD
            .decode(tag)
            .context("the header is damaged")?;
        hmac::verify(&header_key(&file_key)?, signed.as_bytes(), &tag)
            .ok()
            .context("the header is damaged")?;
        let mut seed = [0; 16];
        input.read_exact(&mut seed).context("the file is cut")?;
        Ok(Self {
            input,
            key: payload_key(&file_key, &seed)?,
            chunks: 0,
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)),
            given: 0,
            ended: false,
        })
    }

    fn open_next(&mut self) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged or cut");
        self.chunk.clear();
        self.given = 0;
        let limit = u64::try_from(CHUNK + TAG).unwrap_or(u64::MAX);
        self.input
            .by_ref()
            .take(limit)
            .read_to_end(&mut self.chunk)?;
        self.ended = self.input.fill_buf()?.is_empty();
        let place = if self.ended {
            Place::Last
        } else {
            Place::Within
        };
        let length = self
            .key
            .open_in_place(nonce(self.chunks, place), Aad::empty(), &mut self.chunk)
            .map_err(|_| damaged())?
            .len();
        if length == 0 && self.chunks > 0 {
            return Err(damaged());
        }
        self.chunk.truncate(length);
        self.chunks = self.chunks.saturating_add(1);
        Ok(())
    }
}

impl<R: BufRead> Read for Decryptor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.chunk.len() && !self.ended {
            self.open_next()?;
        }
        let mut rest = self.chunk.get(self.given..).unwrap_or_default();
        let n = rest.read(buffer)?;
        self.given = self.given.saturating_add(n);
        Ok(n)
    }
}

/// Where a chunk is in its file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Within,
    Last,
}

/// Number of the chunk in 11 bytes, big end first, and one that marks the last.
fn nonce(number: u64, place: Place) -> Nonce {
    let mut bytes = [0; 12];
    for (byte, digit) in bytes.iter_mut().skip(3).zip(number.to_be_bytes()) {
        *byte = digit;
    }
    if let Some(last) = bytes.last_mut() {
        *last = u8::from(place == Place::Last);
    }
    Nonce::assume_unique_for_key(bytes)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok().context("no randomness")?;
    Ok(bytes)
}

fn wrapping_key(passphrase: &SecretString, salt: &[u8], cost: u8) -> Result<LessSafeKey> {
    let salted = [b"age-encryption.org/v1/scrypt", salt].concat();
    let parameters = scrypt::Params::new(cost, BLOCKS, 1).context("scrypt's parameters")?;
    let mut key: Key = Zeroizing::new([0; 32]);
    scrypt::scrypt(
        passphrase.expose_secret().as_bytes(),
        &salted,
        &parameters,
        &mut *key,
    )
    .context("scrypt")?;
    cipher(&key)
}

fn header_key(file_key: &FileKey) -> Result<hmac::Key> {
    let key = derived(file_key, &[], b"header")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
}

fn payload_key(file_key: &FileKey, seed: &[u8]) -> Result<LessSafeKey> {
    cipher(&derived(file_key, seed, b"payload")?)
}

fn derived(file_key: &FileKey, salt: &[u8], purpose: &[u8]) -> Result<Key> {
    let mut key: Key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(&**file_key)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .ok()
        .context("a key cannot be derived")?;
    Ok(key)
}

fn cipher(key: &Key) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &**key).ok();
    Ok(LessSafeKey::new(key.context("a key cannot be used")?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use secrecy::SecretString;

    use super::{CHUNK, Decryptor, Encryptor, MAGIC};

    fn encrypted(content: &[u8], passphrase: &str) -> Vec<u8> {
        // Cheap: what the cost is changes nothing here.
        let passphrase = SecretString::from(passphrase);
        let mut out = Encryptor::with_work_factor(Vec::new(), &passphrase, 4).unwrap();
        out.write_all(content).unwrap();
        out.finish().unwrap()
    }

    fn decrypted(file: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        Decryptor::new(file, &SecretString::from(passphrase))
            .map_err(|error| error.to_string())?
            .read_to_end(&mut content)
            .map_err(|error| error.to_string())?;
        Ok(content)
    }

    #[test]
    fn what_is_encrypted_decrypts_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content = vec![7; length];
            let file = encrypted(&content, "secret");
            assert!(file.starts_with(MAGIC));
            assert_eq!(decrypted(&file, "secret"), Ok(content), "{length}");
        }
    }

    #[test]
    fn another_passphrase_opens_nothing() {
        let refusal = decrypted(&encrypted(b"x", "secret"), "guess").unwrap_err();
        assert_eq!(refusal, "the passphrase is wrong, or the header is damaged");
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_is_refused() {
        let file = b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\nAA\n--- AA\n";
        let refusal = decrypted(file, "secret").unwrap_err();
        assert_eq!(refusal, "the header asks for more work than a backup does");
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let file = encrypted(&vec![7; CHUNK + 10], "secret");
        let payload = file.len() - (CHUNK + 10 + 32);
        for position in [payload, file.len() - 20, file.len() - 1] {
            let mut changed = file.clone();
            changed[position] ^= 1;
            let refusal = decrypted(&changed, "secret").unwrap_err();
            assert_eq!(refusal, "the file is damaged or cut", "{position}");
        }
        // Also where exactly a chunk ends.
        for length in [file.len() - 1, payload + CHUNK + 16, payload] {
            let refusal = decrypted(&file[..length], "secret").unwrap_err();
            assert_eq!(refusal, "the file is damaged or cut", "{length}");
        }
    }
}
