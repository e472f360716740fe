//! The flags for serving JSON and the web dashboard over HTTP.

use super::data::DataArgs;
use super::listen::AccessFiles;
use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tko_core::{Admission, DataApi, PluginId};
use tko_http::{HttpServer, HttpServerSettings, PluginCalls};
use tko_plugin::PluginMetrics;
use tko_serve::{Access, Listen, Sockets, Stack};

/// The default port.
const PORT: u16 = 50051;

/// Flags of the HTTP listener for JSON and the web dashboard. Without an address, it listens on
/// loopback and admits everyone there
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Web")]
pub(crate) struct WebArgs {
    /// Serve JSON over HTTP and the web dashboard
    #[arg(long, value_name = "on|off", default_value = "on", action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "on",
          value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    web: bool,
    /// IP versions to use: dual, ipv6 or ipv4
    #[arg(long, default_value_t, value_name = "STACK")]
    web_ip_stack: Stack,
    /// Address or host to listen on, such as ::; requires TLS and authentication, or --insecure
    #[arg(
        long,
        default_value = "",
        value_name = "ADDRESS",
        hide_default_value = true
    )]
    web_address: String,
    /// Port to listen on; 0 chooses a free port [default: 50051; if it is in use, nothing is served
    /// on the web]
    #[arg(long, value_name = "PORT")]
    web_port: Option<u16>,
    /// Server certificate with its chain, in PEM
    #[arg(long, value_name = "FILE", requires = "web_key")]
    web_certificate: Option<PathBuf>,
    /// Key of the server certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "web_certificate")]
    web_key: Option<PathBuf>,
    /// Require client certificates signed by the CA in this PEM file
    #[arg(long, value_name = "FILE", requires = "web_certificate")]
    web_client_ca: Option<PathBuf>,
    /// Admit only the callers in this file: names, hashed tokens or certificates, and roles; make
    /// lines with tko token new. Browsers sign in with the token
    #[arg(long, visible_alias = "web-callers", value_name = "FILE")]
    web_tokens: Option<PathBuf>,
    #[allow(rustdoc::bare_urls)] // It is shown as help.
    /// Let pages of this origin call the API, such as https://portal.example; may be repeated
    #[arg(long = "web-origin", value_name = "ORIGIN")]
    web_origins: Vec<String>,
}

/// Bound sockets for HTTP, with what is served there.
pub(crate) struct WebInterface {
    sockets: Sockets,
    access: Access,
    settings: HttpServerSettings,
}

impl WebArgs {
    /// Binds the sockets; `None` if nothing is to be served.
    ///
    /// The default port may be in use by another instance on this machine. That is not a reason to
    /// refuse to start, because gRPC still works. An explicitly given port that is in use is one.
    pub(super) async fn open(
        &self,
        data: &DataArgs,
        insecure: bool,
    ) -> anyhow::Result<Option<WebInterface>> {
        if !self.web {
            return Ok(None);
        }
        let access = self.access(insecure)?;
        let sockets = match Sockets::bind(&self.listen()).await {
            Ok(sockets) => sockets,
            Err(error) if self.web_port.is_none() && self.web_address.is_empty() => {
                tracing::warn!(
                    error = error.chain(),
                    "not serving HTTP; choose a port with --web-port, or turn it off with --web off"
                );
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot serve HTTP; see --web-port"),
        };
        let checked = access.check(&sockets.addresses());
        checked.context(
            "add --web-certificate and --web-key, and --web-client-ca or --web-tokens; or allow \
             this with --insecure",
        )?;
        let mut settings = HttpServerSettings::default();
        settings.name.clone_from(&data.name);
        settings.description.clone_from(&data.description);
        settings.origins.clone_from(&self.web_origins);
        Ok(Some(WebInterface {
            sockets,
            access,
            settings,
        }))
    }

    /// The address to listen on.
    fn listen(&self) -> Listen {
        Listen {
            stack: self.web_ip_stack,
            address: self.web_address.clone(),
            port: self.web_port.unwrap_or(PORT),
        }
    }

    /// The callers that may connect, and the certificate of the server.
    fn access(&self, insecure: bool) -> tko_core::Result<Access> {
        AccessFiles {
            certificate: self.web_certificate.as_deref(),
            key: self.web_key.as_deref(),
            client_ca: self.web_client_ca.as_deref(),
            callers: self.web_tokens.as_deref(),
            client_ca_flag: "--web-client-ca",
        }
        .access(insecure)
    }
}

impl WebInterface {
    /// The addresses that are bound, IPv6 first.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.addresses()
    }

    /// Whether it is open to the network without TLS or without authentication.
    pub(super) fn is_open(&self) -> bool {
        self.access.is_open(&self.addresses())
    }

    /// Sets whether the server reports that an interface of the process is open to the network.
    pub(super) fn report_insecure(&mut self, insecure: bool) {
        self.settings.reports_insecure = insecure;
    }

    /// The server, and the sockets on which to serve.
    pub(super) fn server(
        self,
        api: Arc<dyn DataApi>,
        admission: Arc<dyn Admission>,
        plugins: PluginMetrics,
    ) -> (HttpServer, Sockets) {
        let server = HttpServer::new(api)
            .with_settings(self.settings)
            .with_access(self.access)
            .with_admission(admission)
            .with_plugin_calls(move |id| calls(&plugins, id));
        (server, self.sockets)
    }
}

/// The calls of a plugin by the services of this process; `None` if there were none.
fn calls(metrics: &PluginMetrics, id: &PluginId) -> Option<PluginCalls> {
    let totals = metrics.read();
    let totals = totals.iter().find(|totals| totals.plugin == id.as_str())?;
    let calls = PluginCalls::new()
        .ended(totals.buckets.iter().sum())
        .failed(totals.failed)
        .timed_out(totals.timed_out)
        .running(totals.running);
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::WebArgs;
    use clap::{Args, Command, FromArgMatches};

    fn parsed(flags: &str) -> Result<WebArgs, clap::Error> {
        let command = WebArgs::augment_args(Command::new("tko"));
        let words = std::iter::once("tko").chain(flags.split_whitespace());
        WebArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn the_default_port_is_that_of_the_original() {
        let web = parsed("").expect("valid flags");
        assert_eq!(web.listen().port, 50051);
    }

    #[test]
    fn the_web_is_on_or_off() {
        for (flags, is_on) in [
            ("", true),
            ("--web", true),
            ("--web --web-port 1", true),
            ("--web on", true),
            ("--web off", false),
            ("--web=off", false),
            ("--web false", false),
            ("--web=true", true),
        ] {
            let web = parsed(flags).expect("valid flags");
            assert_eq!(web.web, is_on, "{flags}");
        }
        assert!(parsed("--web maybe").is_err());
    }
}
