//! Reads certificates: their subjects, and when they expire.

use rustls::pki_types::CertificateDer;

/// DER tags.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version of a certificate, which is optional.
const VERSION: u8 = 0xa0;

/// The attributes of a certificate's subject, in its order. `Display` formats them as
/// `O=Acme,CN=alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSubject(Vec<(&'static str, String)>);

impl CertificateSubject {
    /// The names of the attributes that are read: country, state, locality, organization, unit,
    /// common name, serial number, user id. Others are left out.
    pub const ATTRIBUTES: [&'static str; 8] = ["C", "ST", "L", "O", "OU", "CN", "SERIAL", "UID"];

    /// Reads the subject of a certificate in DER; `None` if it is invalid.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let der = CertificateDer::from(certificate);
        let parsed = webpki::EndEntityCert::try_from(&der).ok()?;
        Self::read(parsed.subject())
    }

    /// The values of an attribute.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(of, _)| *of == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The last common name.
    pub fn common_name(&self) -> Option<&str> {
        self.values("CN").last()
    }

    /// Reads relative names in a sequence, attributes in each.
    fn read(mut subject: &[u8]) -> Option<Self> {
        let mut attributes = Vec::new();
        while !subject.is_empty() {
            let mut relative = take(&mut subject, SET)?;
            while !relative.is_empty() {
                let mut attribute = take(&mut relative, SEQUENCE)?;
                let kind = take(&mut attribute, OBJECT_IDENTIFIER)?;
                let (tag, value) = element(&mut attribute)?;
                let Some(name) = attribute_name(kind) else {
                    continue;
                };
                if !matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING) {
                    return None;
                }
                attributes.push((name, str::from_utf8(value).ok()?.to_owned()));
            }
        }
        Some(Self(attributes))
    }
}

impl std::fmt::Display for CertificateSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (name, value) in &self.0 {
            write!(f, "{separator}{name}={}", value.escape_debug())?;
            separator = ",";
        }
        Ok(())
    }
}

/// The short name of an attribute by its object identifier, as DER encodes it.
fn attribute_name(identifier: &[u8]) -> Option<&'static str> {
    Some(match identifier {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x05] => "SERIAL",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        // 0.9.2342.19200300.100.1.1
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        _ => return None,
    })
}

/// The last second at which a certificate in DER is valid, in seconds since 1970; `None` if the
/// encoding is invalid.
pub(crate) fn valid_until(certificate: &[u8]) -> Option<i64> {
    let mut rest = certificate;
    let mut whole = take(&mut rest, SEQUENCE)?;
    let mut signed = take(&mut whole, SEQUENCE)?;
    // The version is optional; serial number, algorithm and issuer come before the validity.
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    for _ in 0..3 {
        element(&mut signed)?;
    }
    let mut validity = take(&mut signed, SEQUENCE)?;
    element(&mut validity)?;
    let (tag, text) = element(&mut validity)?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (number(0)?, number(2)?);
    let clock = number(4)? * 3_600 + number(6)? * 60 + number(8)?;
    Some(days_since_1970(year, month, day) * 86_400 + clock)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that leap days come last.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Takes the next element, which must have this tag.
fn take<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, value) = element(from)?;
    (found == tag).then_some(value)
}

/// Takes the next element: its tag and value. `None` if the encoding is invalid.
fn element<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = from.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // One or two bytes of length; longer names do not occur.
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some((tag, value))
}

#[cfg(test)]
mod tests {
    use super::{CertificateSubject, days_since_1970, valid_until};
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        certificate.der().to_vec()
    }

    #[test]
    fn the_common_name_is_found_among_other_attributes() {
        let long = "x".repeat(300);
        for name in ["alice", "Zoë", &long] {
            let der = certificate(&[
                (DnType::OrganizationName, "ACME"),
                (DnType::CommonName, name),
            ]);
            let subject = CertificateSubject::of(&der).expect("a subject");
            assert_eq!(subject.common_name(), Some(name));
            assert_eq!(subject.to_string(), format!("O=ACME,CN={name}"));
        }
        let der = certificate(&[(DnType::OrganizationName, "ACME")]);
        assert_eq!(
            CertificateSubject::of(&der)
                .expect("a subject")
                .common_name(),
            None
        );
        assert_eq!(CertificateSubject::of(b"not a certificate"), None);
    }

    #[test]
    fn every_truncated_subject_is_refused() {
        let subject = b"\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03bob";
        let whole = CertificateSubject::read(subject).expect("a subject");
        assert_eq!(whole.common_name(), Some("bob"));
        for end in 1..subject.len() {
            assert_eq!(
                CertificateSubject::read(&subject[..end]),
                None,
                "{end} bytes"
            );
        }
    }

    #[test]
    fn the_end_of_the_validity_is_read_in_both_forms() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        for (year, seconds) in [(2030, 1_893_456_000), (2150, 5_680_281_600)] {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            assert_eq!(valid_until(certificate.der()), Some(seconds), "{year}");
        }
        assert_eq!(valid_until(b"not a certificate"), None);
    }
}
