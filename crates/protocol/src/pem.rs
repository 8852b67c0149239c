//! PEM as it is found in files and in settings: also on one line, and with text around it.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// What lies between a `-----BEGIN LABEL-----` and its `-----END LABEL-----`.
#[derive(Debug, Clone)]
pub struct Section {
    /// What stands after `BEGIN`: `CERTIFICATE`, `PRIVATE KEY` and so on.
    pub label: String,
    /// Its bytes; overwritten when dropped, as they may be a key.
    pub der: Zeroizing<Vec<u8>>,
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// All sections of a text, in order. Text outside of them is left out, and blanks inside don't
/// count, as in Kafka (`DefaultSslEngineFactory.PemParser`): a setting may hold it all on one line.
///
/// # Errors
/// A section has no end, no base64 inside, or the old encryption of OpenSSL; says which and what to
/// do.
pub fn sections(text: &str) -> Result<Vec<Section>, String> {
    let mut sections = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        let after = &rest[start + BEGIN.len()..];
        let (label, after) = after.split_once(DASHES).ok_or("a BEGIN line has no end")?;
        let end = format!("-----END {label}-----");
        let (body, after) =
            after.split_once(&end).ok_or_else(|| format!("{label}: there is no {end}"))?;
        sections.push(Section { label: label.to_owned(), der: decode(label, body)? });
        rest = after;
    }
    Ok(sections)
}

fn decode(label: &str, body: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    if body.contains("Proc-Type:") {
        return Err(format!(
            "{label}: it is encrypted in OpenSSL's old way; convert it: \
             openssl pkcs8 -topk8 -v2 aes256 -in old.key -out new.key"
        ));
    }
    let packed: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_whitespace()).collect());
    let der = Base64::decode_vec(&packed).map_err(|_| format!("{label}: it is not base64"))?;
    Ok(Zeroizing::new(der))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_are_found_with_text_around_and_on_one_line() {
        let text = "Bag Attributes: x\n-----BEGIN CERTIFICATE-----\r\nAQID\r\nBA==\r\n\
                    -----END CERTIFICATE-----\nmore -----BEGIN PRIVATE KEY----- BQY= \
                    -----END PRIVATE KEY-----";
        let found = sections(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[0].label, &**found[0].der), ("CERTIFICATE", &[1, 2, 3, 4][..]));
        assert_eq!((&*found[1].label, &**found[1].der), ("PRIVATE KEY", &[5, 6][..]));
        assert!(sections("nothing").unwrap().is_empty());
    }

    #[test]
    fn what_is_broken_is_named() {
        let wrong = |text| sections(text).unwrap_err();
        assert_eq!(
            wrong("-----BEGIN A-----\nAQID\n-----END B-----"),
            "A: there is no -----END A-----"
        );
        assert_eq!(wrong("-----BEGIN A-----\nA?ID\n-----END A-----"), "A: it is not base64");
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAQID\n\
                   -----END RSA PRIVATE KEY-----";
        assert!(wrong(old).contains("openssl pkcs8 -topk8"), "{}", wrong(old));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(-----BEGIN |-----END |A|-----|[A-Za-z=/+ \n]){0,12}") {
            let _ = sections(&text);
        }
    }
}
