//! The properties of a plugin, read with their defaults, and secrets by reference.

use crate::settings::CatalogSettings;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_source::{HostSecret, secret_in};

/// The properties of one catalog or inventory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Properties<'a>(pub(crate) &'a BTreeMap<String, String>);

impl<'a> Properties<'a> {
    /// The value of a property, without spaces around it; `None` if it is absent or empty.
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        let value = self.0.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// A required property.
    ///
    /// # Errors
    /// `BadArgument`: it is absent.
    pub(crate) fn required(self, name: &str) -> Result<&'a str> {
        self.text(name).ok_or_else(|| {
            Error::bad(
                name.to_owned(),
                format!("the property {name:?} is missing; set it with --property"),
            )
        })
    }

    /// A property that is `true` or `false`; false if it is absent.
    ///
    /// # Errors
    /// `BadArgument`: it has another value.
    pub(crate) fn flag(self, name: &str) -> Result<bool> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Error::bad(
                name.to_owned(),
                format!("{other:?} is neither true nor false"),
            )),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// `BadArgument`: it is not a number from `least` to `most`.
    pub(crate) fn number(self, name: &str, default: f64, least: f64, most: f64) -> Result<f64> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                Error::bad(
                    name.to_owned(),
                    format!("{text:?} is not a number from {least} to {most}"),
                )
            })
    }

    /// A duration: a number with the unit `s`, `m`, `h` or `d`, or a number of seconds.
    ///
    /// # Errors
    /// `BadArgument`: it is not a time.
    pub(crate) fn time(self, name: &str, default: Duration) -> Result<Duration> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        let (number, unit) = match text.char_indices().last() {
            Some((at, 's')) => (&text[..at], 1),
            Some((at, 'm')) => (&text[..at], 60),
            Some((at, 'h')) => (&text[..at], 3_600),
            Some((at, 'd')) => (&text[..at], 86_400),
            _ => (text, 1),
        };
        number
            .trim()
            .parse::<u32>()
            .ok()
            .map(|number| Duration::from_secs(u64::from(number) * unit))
            .ok_or_else(|| {
                Error::bad(
                    name.to_owned(),
                    format!(
                        "{text:?} is not a time; write a whole number with s, m, h or d, such as 5m"
                    ),
                )
            })
    }

    /// Resolves a property that names a secret which stays on this machine: `env:NAME`, `file:PATH`
    /// or `secret:NAME`.
    ///
    /// # Errors
    /// `BadArgument`: the value has another form, or the secret cannot be read on this machine.
    pub(crate) async fn secret(
        self,
        name: &str,
        settings: &CatalogSettings,
    ) -> Result<Option<String>> {
        match self.text(name) {
            None => Ok(None),
            Some(reference) => resolve(name, reference, settings).await.map(Some),
        }
    }

    /// Resolves a property that names a secret which is sent to a host, or proves something to it.
    ///
    /// # Errors
    /// As [`secret`](Self::secret). Also if the secret has no list of hosts, and plugins are
    /// restricted.
    pub(crate) async fn host_secret(
        self,
        name: &str,
        settings: &CatalogSettings,
    ) -> Result<Option<HostSecret>> {
        let Some(reference) = self.text(name) else {
            return Ok(None);
        };
        if !reference.starts_with("secret:") {
            let text = resolve(name, reference, settings).await?;
            return Ok(Some(HostSecret::for_all_hosts(text)));
        }
        // Otherwise a person could have any secret sent to a host of their choice.
        let secrets = settings.secrets.clone().requiring_hosts(!settings.local);
        secrets.resolve_to_send(name, reference).await.map(Some)
    }
}

/// Reads a secret by its reference. One line end is removed.
///
/// # Errors
/// As [`Properties::secret`].
pub(crate) async fn resolve(
    property: &str,
    reference: &str,
    settings: &CatalogSettings,
) -> Result<String> {
    let bad = |why: String| Error::bad(property.to_owned(), why);
    let forbidden = |what: &str| {
        bad(format!(
            "this controller does not read {what}; use secret:NAME with its folder of secrets"
        ))
    };
    let path = match reference.split_once(':') {
        Some(("env", name)) => {
            if !settings.local {
                return Err(forbidden("environment variables"));
            }
            return std::env::var(name)
                .map_err(|_| bad(format!("the environment variable {name:?} is not set")));
        }
        Some(("file", path)) if settings.local => Path::new(path),
        Some(("file", _)) => return Err(forbidden("files")),
        Some(("secret", _)) => return settings.secrets.resolve(property, reference).await,
        _ => return Err(not_a_reference(property)),
    };
    secret_in(path)
        .await
        .map_err(|error| bad(format!("{reference} cannot be read: {error}")))
}

/// Checks that a property refers to a secret, without reading it.
///
/// # Errors
/// `BadArgument`: it has another form, and may be the secret itself. The error does not show it.
pub(crate) fn check_reference(property: &str, reference: &str) -> Result<()> {
    match reference.split_once(':') {
        Some(("env" | "file" | "secret", name)) if !name.is_empty() => Ok(()),
        _ => Err(not_a_reference(property)),
    }
}

fn not_a_reference(property: &str) -> Error {
    let why = "a secret is not written here; write env:NAME, file:PATH or secret:NAME";
    Error::bad(property.to_owned(), why)
}

#[cfg(test)]
mod tests {
    use super::{Properties, resolve};
    use crate::settings::CatalogSettings;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use tko_source::SecretFolder;

    #[test]
    fn times_have_units() {
        let minute = Duration::from_mins(1);
        for (text, seconds) in [("90", 90), ("5m", 300), ("2 h", 7_200), ("1d", 86_400)] {
            let map = BTreeMap::from([("interval".to_owned(), text.to_owned())]);
            let time = Properties(&map).time("interval", minute).expect("a time");
            assert_eq!(time.as_secs(), seconds);
        }
        for text in ["5 minutes", "-1s", "m", "1.5h", "9999999999d"] {
            let map = BTreeMap::from([("interval".to_owned(), text.to_owned())]);
            assert!(Properties(&map).time("interval", minute).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn secrets_come_from_the_folder_of_secrets_only() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), "abc\n").expect("a file");
        let settings = CatalogSettings::default().with_secrets(SecretFolder::new(folder.path()));
        let secret = resolve("token", "secret:token", &settings).await;
        assert_eq!(secret.expect("a secret"), "abc");
        for reference in [
            "secret:../token",
            "secret:.hidden",
            "secret:",
            "secret:none",
            "env:PATH",
            "file:/etc/hostname",
            "abc",
        ] {
            let error = resolve("token", reference, &settings).await;
            assert!(error.is_err(), "{reference}");
        }
    }

    #[tokio::test]
    async fn with_restricted_plugins_a_secret_that_is_sent_needs_a_list_of_hosts() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), "abc\n").expect("a file");
        let restricted = CatalogSettings::default().with_secrets(SecretFolder::new(folder.path()));
        let open = restricted.clone().with_local(true);
        let map = BTreeMap::from([("token".to_owned(), "secret:token".to_owned())]);
        let secret = Properties(&map).host_secret("token", &open).await;
        let secret = secret.expect("a secret").expect("a secret");
        assert_eq!(secret.for_host("token", "h").expect("any host"), "abc");
        let secret = Properties(&map).host_secret("token", &restricted).await;
        assert!(secret.is_err());
        std::fs::write(folder.path().join("token.hosts"), "h\n").expect("a file");
        for settings in [open, restricted] {
            let secret = Properties(&map).host_secret("token", &settings).await;
            let secret = secret.expect("a secret").expect("a secret");
            assert_eq!(secret.for_host("token", "h").expect("its host"), "abc");
            assert!(secret.for_host("token", "attacker").is_err());
        }
    }
}
