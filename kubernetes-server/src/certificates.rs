//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate authority that a test creates, and that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate alone, in PEM, without that of its authority.
    pub certificate: String,
    /// The private key, in PEM.
    pub key: String,
}

impl Authority {
    /// Makes an authority of this name.
    ///
    /// # Panics
    /// If the machine has no random numbers.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("valid parameters");
        Self { issuer }
    }

    /// The certificate of the authority, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate of a server with these names.
    ///
    /// # Panics
    /// If a name is neither a DNS name nor an address.
    pub fn server(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).expect("names of servers");
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate of a client with this name, in these groups.
    ///
    /// # Panics
    /// If the machine has no random numbers.
    pub fn client(&self, name: &str, groups: &[&str]) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Issued {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("valid parameters");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
