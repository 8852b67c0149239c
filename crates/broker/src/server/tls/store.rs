//! The broker's key and certificates, and the authorities of its clients: PEM, from files or from
//! settings.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use streamledger_protocol::Password;
use streamledger_protocol::pem::{self, Section};
use zeroize::Zeroizing;

use crate::config::PemSource;

/// The largest file that is read.
const STORE_BYTES_MAX: u64 = 4 << 20;

/// Certificates, the broker's own first, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Reads key and certificates, and decrypts the key.
pub(super) fn identity(
    source: &PemSource,
    password: Option<&Password>,
) -> Result<Identity, String> {
    let sections = sections(source)?;
    let is_key = |section: &&Section| section.label.ends_with("PRIVATE KEY");
    let key = sections.iter().find(is_key).ok_or("there is no PRIVATE KEY in the keystore")?;
    let key = private_key(key, password)?;
    let chain = certificates(sections);
    if chain.is_empty() {
        return Err("there is no CERTIFICATE in the keystore".to_owned());
    }
    Ok((chain, key))
}

/// Reads the authorities.
pub(super) fn authorities(source: &PemSource) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = certificates(sections(source)?);
    if found.is_empty() {
        return Err("there is no CERTIFICATE in the truststore".to_owned());
    }
    Ok(found)
}

/// What tells that a file is another than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64)>);

impl Stamp {
    /// Of a source that is a file.
    pub(super) fn of(source: &PemSource) -> Option<Self> {
        let PemSource::File(path) = source else { return None };
        let metadata = std::fs::metadata(path);
        let stamp = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        Some(Self(stamp.ok()))
    }
}

fn sections(source: &PemSource) -> Result<Vec<Section>, String> {
    match source {
        PemSource::Text(text) => pem::sections(text.reveal()),
        PemSource::File(path) => {
            let named = |reason: String| format!("{}: {reason}", path.display());
            let bytes = read(path).map_err(named)?;
            pem::sections(&String::from_utf8_lossy(&bytes)).map_err(named)
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(STORE_BYTES_MAX + 1).read_to_end(&mut bytes);
    if read.map_err(|error| error.to_string())? as u64 > STORE_BYTES_MAX {
        return Err("it has more than 4 MiB; is it the right file?".to_owned());
    }
    Ok(bytes)
}

fn certificates(sections: Vec<Section>) -> Vec<CertificateDer<'static>> {
    let is_certificate = |section: &Section| section.label.ends_with("CERTIFICATE");
    let found = sections.into_iter().filter(is_certificate);
    found.map(|section| section.der.to_vec().into()).collect()
}

fn private_key(
    section: &Section,
    password: Option<&Password>,
) -> Result<PrivateKeyDer<'static>, String> {
    let der = section.der.to_vec();
    match &*section.label {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        "ENCRYPTED PRIVATE KEY" => {
            let password = password.ok_or("the key is encrypted: ssl.key.password")?;
            let encrypted = EncryptedPrivateKeyInfoRef::try_from(&*der)
                .map_err(|_| "the encrypted key is not PKCS#8 by PBES2".to_owned())?;
            let plain = encrypted.decrypt(password.reveal()).map_err(|_| {
                "ssl.key.password doesn't open the key, or its cipher is not AES (convert: \
                 openssl pkcs8 -topk8 -v2 aes256)"
                    .to_owned()
            })?;
            Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into())
        }
        other => Err(format!("{other}: keys of that kind are not known")),
    }
}
