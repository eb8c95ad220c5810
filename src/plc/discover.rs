//! What a server says of itself before anybody logs in.

use opcua::crypto::X509;
use opcua::types::{ApplicationDescription, EndpointDescription};

use super::LinkConfig;
use super::client::Server;
use super::explore::ExploreError;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFound {
    /// Its name.
    pub name: String,
    /// Its application URI.
    pub uri: String,
    /// What it is: Server, Client, DiscoveryServer, ...
    pub kind: String,
    /// Addresses at which it can be asked.
    pub urls: Vec<String>,
}

/// One way to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFound {
    /// Address.
    pub url: String,
    /// Security policy, such as `Basic256Sha256`.
    pub policy: String,
    /// None, Sign or `SignAndEncrypt`.
    pub mode: String,
    /// Who may log in: Anonymous, `UserName`, Certificate, `IssuedToken`.
    pub users: Vec<String>,
    /// How good the server thinks it is, 0 to 255.
    pub level: u8,
    /// The server's certificate.
    pub certificate: Option<CertificateFound>,
}

/// A certificate, by what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFound {
    /// SHA-1 in hexadecimal digits, as OPC UA tools show it.
    pub thumbprint: String,
    /// Subject.
    pub subject: String,
    /// Last day, RFC 3339; `None` when it cannot be read.
    pub not_after: Option<String>,
}

/// Servers and endpoints at one address.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// Servers known there.
    pub servers: Vec<ServerFound>,
    /// Ways to connect, best first.
    pub endpoints: Vec<EndpointFound>,
}

/// Asks for servers and endpoints; no session is made.
///
/// # Errors
/// [`ExploreError`] when nobody answers.
pub async fn discover(config: &LinkConfig) -> Result<Discovery, ExploreError> {
    let (servers, endpoints) = Server::alone(config)?.ask_around().await?;
    let mut found: Vec<ServerFound> = Vec::new();
    for server in servers.iter().chain(endpoints.iter().map(|endpoint| &endpoint.server)) {
        let server = server_of(server);
        if !found.iter().any(|known| known.uri == server.uri) {
            found.push(server);
        }
    }
    let mut endpoints: Vec<EndpointFound> = endpoints.iter().map(endpoint_of).collect();
    endpoints.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.policy.cmp(&b.policy)));
    Ok(Discovery { servers: found, endpoints })
}

fn server_of(server: &ApplicationDescription) -> ServerFound {
    let urls = server.discovery_urls.iter().flatten().map(ToString::to_string);
    ServerFound {
        name: server.application_name.text.to_string(),
        uri: server.application_uri.to_string(),
        kind: format!("{:?}", server.application_type),
        urls: urls.collect(),
    }
}

fn endpoint_of(endpoint: &EndpointDescription) -> EndpointFound {
    let policy = endpoint.security_policy_uri.as_ref();
    let mut users: Vec<String> = Vec::new();
    for token in endpoint.user_identity_tokens.iter().flatten() {
        let user = format!("{:?}", token.token_type);
        if !users.contains(&user) {
            users.push(user);
        }
    }
    let certificate = X509::from_byte_string(&endpoint.server_certificate).ok();
    EndpointFound {
        url: endpoint.endpoint_url.to_string(),
        policy: policy.rsplit('#').next().unwrap_or(policy).to_owned(),
        mode: match endpoint.security_mode {
            opcua::types::MessageSecurityMode::None => "None",
            opcua::types::MessageSecurityMode::Sign => "Sign",
            opcua::types::MessageSecurityMode::SignAndEncrypt => "SignAndEncrypt",
            opcua::types::MessageSecurityMode::Invalid => "Invalid",
        }
        .to_owned(),
        users,
        level: endpoint.security_level,
        certificate: certificate.map(|certificate| CertificateFound {
            thumbprint: certificate.thumbprint().as_hex_string(),
            subject: certificate.subject_name(),
            not_after: certificate.not_after().ok().map(|time| time.to_rfc3339()),
        }),
    }
}
