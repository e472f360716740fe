//! [`ClientCertificates`]: authentication by the certificate of a TLS client.

use crate::authenticate::Authenticate;
use crate::credentials::Credentials;
use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use tko_core::{Caller, Error, Result};

/// DER tags.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// The object identifier of a common name, 2.5.4.3, as DER encodes it.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Names the caller by the common name in the subject of its client certificate.
///
/// The TLS handshake has verified the certificate against
/// [`ServerTls`](crate::ServerTls)'s client CA.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ClientCertificates;

impl ClientCertificates {
    /// Accepts requests on connections with a client certificate.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Authenticate for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        if credentials.certificate().is_none() {
            return Err(Error::Unauthenticated(
                "this server requires a client certificate".to_owned(),
            ));
        }
        let Some(name) = credentials.common_name() else {
            return Err(Error::Unauthenticated(
                "the subject of the client certificate has no common name".to_owned(),
            ));
        };
        Caller::new(&name).map_err(|error| {
            Error::Unauthenticated(format!("the client certificate's common name: {error}"))
        })
    }
}

/// The last common name in the subject of a certificate in DER.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let der = CertificateDer::from(certificate);
    let parsed = webpki::EndEntityCert::try_from(&der).ok()?;
    in_subject(parsed.subject())
}

/// The last common name of a subject: relative names in a sequence, attributes in each.
fn in_subject(mut subject: &[u8]) -> Option<String> {
    let mut found = None;
    while !subject.is_empty() {
        let mut relative = take(&mut subject, SET)?;
        while !relative.is_empty() {
            let mut attribute = take(&mut relative, SEQUENCE)?;
            let kind = take(&mut attribute, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME {
                let (tag, value) = element(&mut attribute)?;
                if !matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING) {
                    return None;
                }
                found = Some(str::from_utf8(value).ok()?.to_owned());
            }
        }
    }
    found
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
    use super::{common_name, in_subject};
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
            assert_eq!(common_name(&der).as_deref(), Some(name));
        }
        let der = certificate(&[(DnType::OrganizationName, "ACME")]);
        assert_eq!(common_name(&der), None);
        assert_eq!(common_name(b"not a certificate"), None);
    }

    #[test]
    fn every_truncated_subject_is_refused() {
        let subject = b"\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03bob";
        assert_eq!(in_subject(subject).as_deref(), Some("bob"));
        for end in 1..subject.len() {
            assert_eq!(in_subject(&subject[..end]), None, "{end} bytes");
        }
    }
}
