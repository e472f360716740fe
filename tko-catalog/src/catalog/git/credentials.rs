//! The secrets of a catalog or inventory in a git repository.

use super::address::{GitHost, authorization};
use super::ssh::{SshCredentials, private_file};
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use tko_core::Result;

/// The secrets of an entry, as git takes them.
pub(super) struct GitCredentials {
    /// Whether git follows redirects.
    pub(super) redirects: bool,
    /// The header that authenticates, and the URL that it is sent to.
    pub(super) authorization: Option<(String, String)>,
    /// Certificates of authorities to trust in place of those of the machine, in PEM.
    pub(super) ca: Option<tempfile::NamedTempFile>,
    pub(super) ssh: SshCredentials,
}

impl GitCredentials {
    /// The credentials for the repository at a URL.
    ///
    /// # Errors
    /// `BadArgument`: a reference cannot be read, or a secret is not for the host.
    pub(super) async fn read(
        url: &str,
        host: Option<&GitHost>,
        properties: Properties<'_>,
        settings: &CatalogSettings,
    ) -> Result<Self> {
        let host_name = host.map_or("", |host| host.name.as_str());
        let token = properties.host_secret("token", settings).await?;
        let authorization = match &token {
            None => None,
            Some(token) => {
                let text = token.for_host("token", host_name)?;
                Some(authorization(url, properties.text("user"), text)?)
            }
        };
        // git would send the header to the host of a redirect, too.
        let redirects = settings.local && !token.is_some_and(|token| token.is_limited());
        let ca = match properties.secret("ca", settings).await? {
            None => None,
            Some(pem) => Some(private_file(&pem)?),
        };
        let ssh = SshCredentials::open(properties, host_name, settings).await?;
        Ok(Self {
            redirects,
            authorization,
            ca,
            ssh,
        })
    }
}
