//! The token in its slot: which one it is, and what it says about itself.

use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::slot::{Slot, TokenInfo};
use lamassu_crypto::{Curve, KeySpec};
use serde_json::{Map, Value, json};

use crate::error::Pkcs11Error;

/// How often it is looked at a token that cannot be read, and how long is between.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(30);

/// Which token is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) label: String,
    pub(crate) serial: Option<String>,
}

impl Wanted {
    fn is(&self, token: &TokenInfo) -> bool {
        let is_serial = |serial: &String| serial == token.serial_number();
        token.label() == self.label && self.serial.as_ref().is_none_or(is_serial)
    }
}

/// What a token and its module say about themselves.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) supported: Vec<KeySpec>,
}

/// The slot of a token. Slots may change their numbers whenever the module is initialised.
pub(crate) fn find(library: &Pkcs11, wanted: &Wanted) -> Result<Slot, Pkcs11Error> {
    let mut found = None;
    let mut unreadable = None;
    for slot in library.get_slots_with_token()? {
        let token = match library.get_token_info(slot) {
            Ok(token) => token,
            // It may be another engine's that is away.
            Err(error) => {
                unreadable = Some(error);
                continue;
            }
        };
        if !wanted.is(&token) {
            continue;
        }
        if found.replace(slot).is_some() {
            return Err(Pkcs11Error::SeveralTokens(wanted.label.clone()));
        }
    }
    found.ok_or_else(|| match unreadable {
        Some(error) => Pkcs11Error::Call(error),
        None => Pkcs11Error::TokenNotFound(wanted.label.clone()),
    })
}

/// Refuses a slot whose token is away, or another one. One that cannot be read is asked several times:
/// somebody else may be logging in, which some modules write down in the token (SoftHSM2).
pub(crate) fn require(library: &Pkcs11, slot: Slot, wanted: &Wanted) -> Result<(), Pkcs11Error> {
    let mut n_left = LOOKS;
    let token = loop {
        n_left -= 1;
        match library.get_token_info(slot) {
            Err(_) if n_left > 0 => std::thread::park_timeout(BETWEEN_LOOKS),
            outcome => break outcome?,
        }
    };
    if wanted.is(&token) {
        return Ok(());
    }
    Err(Pkcs11Error::TokenNotFound(wanted.label.clone()))
}

/// Describes the token in a slot.
pub(crate) fn describe(library: &Pkcs11, slot: Slot) -> Result<Description, Pkcs11Error> {
    let module = library.get_library_info()?;
    let token = library.get_token_info(slot)?;
    let version = module.cryptoki_version();
    let version = format!("{}.{}", version.major(), version.minor());
    let mut metadata = Map::new();
    for (name, value) in [
        ("cryptoki-version", version.as_str()),
        ("library", module.library_description()),
        ("manufacturer", module.manufacturer_id()),
        ("model", token.model()),
    ] {
        let name = format!("lamassu.io/cryptoengine/pkcs11/{name}");
        metadata.insert(name, json!(value));
    }
    Ok(Description {
        manufacturer: module.manufacturer_id().to_owned(),
        model: token.model().to_owned(),
        metadata,
        supported: supported(library, slot)?,
    })
}

/// The kinds of keys that the token makes and signs with, of those that the platform knows.
fn supported(library: &Pkcs11, slot: Slot) -> Result<Vec<KeySpec>, Pkcs11Error> {
    let mechanisms = library.get_mechanism_list(slot)?;
    let mut supported = Vec::new();
    for spec in KeySpec::GENERATED {
        let Some([making, signing]) = mechanisms_of(spec) else {
            continue;
        };
        let mut is_supported = true;
        for mechanism in [making, signing] {
            is_supported &= mechanisms.contains(&mechanism) && {
                let info = library.get_mechanism_info(slot, mechanism)?;
                let (least, most) = (info.min_key_size(), info.max_key_size());
                usize::try_from(spec.bits()).is_ok_and(|bits| (least..=most).contains(&bits))
                    // Some say 255 for this one, some say nothing.
                    || spec == KeySpec::Ed25519
            };
        }
        if is_supported {
            supported.push(spec);
        }
    }
    Ok(supported)
}

/// How a kind of key is made and signs. ML-DSA came with PKCS#11 3.2 and is not used yet.
fn mechanisms_of(spec: KeySpec) -> Option<[MechanismType; 2]> {
    match spec {
        KeySpec::Rsa(_) => Some([
            MechanismType::RSA_PKCS_KEY_PAIR_GEN,
            MechanismType::RSA_PKCS,
        ]),
        KeySpec::Ec(Curve::P224 | Curve::P256 | Curve::P384 | Curve::P521) => {
            Some([MechanismType::ECC_KEY_PAIR_GEN, MechanismType::ECDSA])
        }
        KeySpec::Ed25519 => Some([
            MechanismType::ECC_EDWARDS_KEY_PAIR_GEN,
            MechanismType::EDDSA,
        ]),
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => None,
    }
}
