//! `trimloop plc discover`: servers, endpoints and certificates.

use clap::Args;
use serde_json::{Value, json};

use super::super::{Exit, Failure, Global, Ui};
use super::target::{Target, block_on};
use crate::plc::{CertificateFound, Discovery, EndpointFound, discover};

const EXAMPLES: &str = "\
Examples:
  trimloop plc discover opc.tcp://127.0.0.1:4855   The simulator (`trimloop simulate`)
  trimloop plc discover 192.168.0.10               A PLC on the standard port, 4840
  trimloop plc discover                            The PLC of the one PLC config

Asks without logging in: no user, no password, no certificate of ours. Compare the thumbprint with
what the PLC's own tool shows before you trust the certificate.";

/// Whom to ask.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct DiscoverArgs {
    /// Address, host, or PLC config
    #[arg(value_name = "URL|HOST|CONFIG")]
    target: Option<String>,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &DiscoverArgs) -> Result<Exit, Failure> {
    ui.start_logs("error");
    let target = match &args.target {
        Some(file) if file.ends_with(".toml") => Target::find(global, Some(file)),
        // What is no PLC config is a host.
        Some(text) => Target::find(global, Some(text)).or_else(|_| Target::address(global, text)),
        None => Target::find(global, None),
    }?;
    let found = block_on(discover(&target.link))?.map_err(|error| target.failure(&error))?;
    let mut object = ui.head("trimloop.plc.discover/1", true);
    object["url"] = json!(target.link.url);
    object["servers"] = found
        .servers
        .iter()
        .map(|server| {
            json!({ "name": server.name, "uri": server.uri, "kind": server.kind,
                    "urls": server.urls })
        })
        .collect();
    object["endpoints"] = found.endpoints.iter().map(endpoint_json).collect();
    ui.result(&text(&found), &object);
    Ok(Exit::Ok)
}

fn endpoint_json(endpoint: &EndpointFound) -> Value {
    let certificate = endpoint.certificate.as_ref().map(|certificate| {
        json!({ "thumbprint": certificate.thumbprint, "subject": certificate.subject,
                "not_after": certificate.not_after })
    });
    json!({ "url": endpoint.url, "policy": endpoint.policy, "mode": endpoint.mode,
            "users": endpoint.users, "level": endpoint.level, "certificate": certificate })
}

fn text(found: &Discovery) -> String {
    let mut text = String::new();
    for server in &found.servers {
        text.push_str(&format!("{} ({}), {}\n", server.name, server.kind, server.uri));
        for url in &server.urls {
            text.push_str(&format!("  {url}\n"));
        }
    }
    text.push_str("endpoints, best first\n");
    let width = |of: fn(&EndpointFound) -> usize| found.endpoints.iter().map(of).max().unwrap_or(0);
    let (policies, modes) = (width(|e| e.policy.len()), width(|e| e.mode.len()));
    for endpoint in &found.endpoints {
        let EndpointFound { policy, mode, users, url, .. } = endpoint;
        let users = users.join(", ");
        text.push_str(&format!("  {policy:policies$}  {mode:modes$}  {url}  ({users})\n"));
    }
    let mut certificates: Vec<&CertificateFound> = Vec::new();
    for certificate in found.endpoints.iter().filter_map(|e| e.certificate.as_ref()) {
        if !certificates.contains(&certificate) {
            certificates.push(certificate);
        }
    }
    for certificate in certificates {
        let until = certificate.not_after.as_deref().unwrap_or("unknown");
        text.push_str(&format!(
            "certificate {}\n  {}, until {until}\n",
            certificate.thumbprint, certificate.subject
        ));
    }
    text
}
