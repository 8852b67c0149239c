//! The subject of a certificate as text, as Java writes it (RFC 2253 with the keywords of
//! `X500Principal.getName`): `CN=alice,OU=clicks,O=Example`.
//!
//! Read from DER by hand, as it is the one thing in a certificate that is asked for here. The
//! certificate has been verified before; still no length is trusted.

use std::fmt::Write as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const VERSION: u8 = 0xA0;
const UTF8_STRING: u8 = 0x0C;
const BMP_STRING: u8 = 0x1E;
/// Printable, Teletex and IA5 strings: ASCII, or Latin 1.
const BYTE_STRINGS: [u8; 3] = [0x13, 0x14, 0x16];

/// RFC 2253's keywords, by the encoded object id.
const KEYWORDS: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
];

/// The subject of a certificate; `None` if the bytes are no certificate.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let mut outer = Der(Der(certificate).take(SEQUENCE)?);
    let mut body = Der(outer.take(SEQUENCE)?);
    if body.peek() == Some(VERSION) {
        body.take(VERSION)?;
    }
    // Serial number, signature's algorithm, issuer, validity.
    for _ in 0..4 {
        body.next()?;
    }
    let mut names = Der(body.take(SEQUENCE)?);
    let mut parts = Vec::new();
    while !names.0.is_empty() {
        parts.push(relative_name(names.take(SET)?)?);
    }
    // The last comes first.
    parts.reverse();
    Some(parts.join(","))
}

/// One part of the name; several values of it are joined by `+`.
fn relative_name(set: &[u8]) -> Option<String> {
    let mut set = Der(set);
    let mut text = String::new();
    while !set.0.is_empty() {
        let mut pair = Der(set.take(SEQUENCE)?);
        let id = pair.take(OBJECT_ID)?;
        let whole = pair.0;
        let (tag, value) = pair.next()?;
        if !text.is_empty() {
            text.push('+');
        }
        let keyword = KEYWORDS.iter().find(|(known, _)| *known == id);
        match keyword.and_then(|(_, keyword)| Some((keyword, string(tag, value)?))) {
            Some((keyword, value)) => {
                text.push_str(keyword);
                text.push('=');
                escape(&value, &mut text);
            }
            // As Java: the id in numbers, the value with its tag in hexadecimal digits.
            None => {
                text.push_str(&dotted(id)?);
                text.push_str("=#");
                for byte in &whole[..whole.len() - pair.0.len()] {
                    write!(text, "{byte:02x}").ok()?;
                }
            }
        }
    }
    Some(text)
}

fn string(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => String::from_utf8(value.to_vec()).ok(),
        BMP_STRING => {
            let units = value.chunks(2).map(|pair| pair.try_into().map(u16::from_be_bytes).ok());
            String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
        }
        tag if BYTE_STRINGS.contains(&tag) => Some(value.iter().copied().map(char::from).collect()),
        _ => None,
    }
}

fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, letter) in value.chars().enumerate() {
        let is_edge_blank = letter == ' ' && (index == 0 || index == last);
        if is_edge_blank || ",=+<>#;\"\\".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
}

fn dotted(id: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in id {
        number = number.checked_mul(128)? | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let first = *numbers.first()?;
    let top = (first / 40).min(2);
    let rest = numbers[1..].iter().map(|number| format!(".{number}")).collect::<String>();
    Some(format!("{top}.{}{rest}", first - top * 40))
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which must have that tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// Tag and content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                let length = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(parts: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        certificate.der().to_vec()
    }

    #[test]
    fn a_subject_is_written_as_java_writes_it() {
        let der = certificate(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example, Inc. "),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b"),
            (DnType::CommonName, "alice"),
        ]);
        assert_eq!(
            subject(&der).unwrap(),
            "CN=alice,1.2.840.113549.1.9.1=#0c03614062,O=Example\\, Inc.\\ ,C=DE"
        );
        assert_eq!(subject(&certificate(&[])).unwrap(), "");
    }

    #[test]
    fn a_certificate_cut_anywhere_is_none() {
        let der = certificate(&[(DnType::CommonName, "alice")]);
        for end in 0..der.len() {
            assert_eq!(subject(&der[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 4),
        ) {
            let _ = subject(&noise);
            let mut der = certificate(&[(DnType::CommonName, "alice")]);
            for (at, byte) in flips {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let _ = subject(&der);
        }
    }
}
