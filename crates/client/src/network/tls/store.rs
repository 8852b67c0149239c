//! The authorities that are trusted and the client's own key: read from files or from settings.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use streamledger_protocol::pem::{self, Section};
use zeroize::Zeroizing;

use crate::config::{ConfigError, Password, read_capped};

/// Where the authorities that are trusted come from.
#[derive(Debug, Clone)]
pub(super) enum TrustSource {
    /// Those of the system.
    System,
    /// A text of `ssl.truststore.certificates`.
    Text(Password),
    /// The file of `ssl.truststore.location`, with its type.
    File(PathBuf, String),
}

/// Where the client's own key and certificates come from.
#[derive(Debug, Clone)]
pub(super) enum IdentitySource {
    /// There is none.
    None,
    /// Texts of `ssl.keystore.key` and `ssl.keystore.certificate.chain`.
    Text { key: Password, chain: Password },
    /// The file of `ssl.keystore.location`, with its type.
    File(PathBuf, String),
}

/// The client's own certificates, its own first, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

const TRUST_LOCATION: &str = "ssl.truststore.location";
const TRUST_TEXT: &str = "ssl.truststore.certificates";
const KEY_LOCATION: &str = "ssl.keystore.location";
const KEY_TEXT: &str = "ssl.keystore.key";
const CHAIN_TEXT: &str = "ssl.keystore.certificate.chain";
const KEY_PASSWORD: &str = "ssl.key.password";

/// The largest file that is read: a system's whole bundle has a tenth of it.
const STORE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl TrustSource {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) => Some(path),
            Self::System | Self::Text(_) => None,
        }
    }

    /// Reads the authorities.
    pub(super) fn load(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let (name, text) = match self {
            Self::System => return Ok(of_the_system()),
            Self::Text(text) => (TRUST_TEXT, Zeroizing::new(text.reveal().to_owned())),
            Self::File(path, kind) => {
                (TRUST_LOCATION, read_pem(TRUST_LOCATION, path, kind, CONVERT_TRUSTSTORE)?)
            }
        };
        let found = pem::sections(&text).map_err(|reason| unusable(name, reason))?;
        let certificates = certificates(found);
        if certificates.is_empty() {
            return Err(unusable(name, "there is no CERTIFICATE in it".to_owned()));
        }
        Ok(certificates)
    }
}

impl IdentitySource {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path, _) => Some(path),
            Self::None | Self::Text { .. } => None,
        }
    }

    /// Reads key and certificates, and decrypts the key.
    pub(super) fn load(
        &self,
        password: Option<&Password>,
    ) -> Result<Option<Identity>, ConfigError> {
        let parse = |name, text: &str| pem::sections(text).map_err(|reason| unusable(name, reason));
        let (key_name, keys, chain_name, chain) = match self {
            Self::None => return Ok(None),
            Self::Text { key, chain } => (
                KEY_TEXT,
                parse(KEY_TEXT, key.reveal())?,
                CHAIN_TEXT,
                parse(CHAIN_TEXT, chain.reveal())?,
            ),
            Self::File(path, kind) => {
                let text = read_pem(KEY_LOCATION, path, kind, CONVERT_KEYSTORE)?;
                let found = parse(KEY_LOCATION, &text)?;
                (KEY_LOCATION, found.clone(), KEY_LOCATION, found)
            }
        };
        let key = keys.iter().find(|section| section.label.ends_with("PRIVATE KEY"));
        let key =
            key.ok_or_else(|| unusable(key_name, "there is no PRIVATE KEY in it".to_owned()))?;
        let key = private_key(key_name, key, password)?;
        let chain = certificates(chain);
        if chain.is_empty() {
            return Err(unusable(chain_name, "there is no CERTIFICATE in it".to_owned()));
        }
        Ok(Some((chain, key)))
    }
}

/// What tells that a file is another than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path);
        let stamp = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        Self(stamp.ok())
    }
}

fn of_the_system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "the system's authorities");
    }
    found.certs
}

fn certificates(sections: Vec<Section>) -> Vec<CertificateDer<'static>> {
    let is_certificate = |label: &str| label.ends_with("CERTIFICATE");
    let found = sections.into_iter().filter(|section| is_certificate(&section.label));
    found.map(|section| section.der.to_vec().into()).collect()
}

fn private_key(
    name: &'static str,
    section: &Section,
    password: Option<&Password>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let der = section.der.to_vec();
    match &*section.label {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or_else(|| {
                unusable(KEY_PASSWORD, format!("it is not set, and the key of {name} is encrypted"))
            })?;
            let encrypted = EncryptedPrivateKeyInfoRef::try_from(&*der).map_err(|_| {
                unusable(name, "the encrypted key is not PKCS#8, or not by PBES2".to_owned())
            })?;
            let plain = encrypted.decrypt(password.reveal()).map_err(|_| {
                let reason = "it doesn't open the key; the password is another, or the cipher is \
                              not AES (convert: openssl pkcs8 -topk8 -v2 aes256)";
                unusable(KEY_PASSWORD, reason.to_owned())
            })?;
            Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
        }
        other => Err(unusable(name, format!("{other}: keys of that kind are not known"))),
    }
}

const CONVERT_TRUSTSTORE: &str = "keytool -list -rfc -keystore STORE > truststore.pem";
const CONVERT_KEYSTORE: &str = "keytool -importkeystore -srckeystore STORE -destkeystore \
    store.p12 -deststoretype PKCS12 && openssl pkcs12 -in store.p12 -out keystore.pem";

/// Reads a store that must be PEM; Java's own formats are refused with the way out of them.
fn read_pem(
    name: &'static str,
    path: &Path,
    kind: &str,
    convert: &str,
) -> Result<Zeroizing<String>, ConfigError> {
    let bytes = read_capped(path, STORE_BYTES_MAX)
        .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
    let bytes = Zeroizing::new(bytes);
    let has_pem = |bytes: &[u8]| bytes.windows(11).any(|window| window == b"-----BEGIN ");
    if !has_pem(&bytes) {
        let said = store_format(&bytes).unwrap_or(kind);
        let is_pem_meant = said.eq_ignore_ascii_case("PEM");
        let what = if is_pem_meant { "no PEM" } else { said };
        let type_name = if name == TRUST_LOCATION { "truststore" } else { "keystore" };
        return Err(unusable(
            name,
            format!(
                "{} is {what}, and only PEM is read here; convert it: {}; then set \
                 ssl.{type_name}.type=PEM and leave ssl.{type_name}.password out",
                path.display(),
                convert.replace("STORE", &as_shell_word(&path.display().to_string())),
            ),
        ));
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A text as one word of a POSIX shell, so that a command with it can be run as it is printed.
fn as_shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:,@%=".contains(c);
    match text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// The format of a store by its first bytes.
fn store_format(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some("JKS"),
        [0xce, 0xce, 0xce, 0xce, ..] => Some("JCEKS"),
        // A sequence with a long length, whose first element is the number 3 (RFC 7292).
        [0x30, 0x82, _, _, 0x02, 0x01, 0x03, ..] => Some("PKCS12"),
        [0x30, 0x80, 0x02, 0x01, 0x03, ..] => Some("PKCS12"),
        _ => None,
    }
}

fn unusable(name: &'static str, reason: String) -> ConfigError {
    ConfigError::Unusable { name, reason }
}
