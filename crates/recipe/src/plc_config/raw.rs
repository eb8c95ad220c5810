//! A PLC config as serde reads it: shapes and places only.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::spanned::{At, Literal, Named};

/// A trimloop PLC config: where the tags of recipes are found in one PLC, and which may be written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPlcConfig {
    /// Name, address, security.
    pub plc: At<RawPlc>,
    /// Life signs both ways. Without it nothing reverts when trimloop dies.
    pub heartbeat: Option<At<RawHeartbeat>>,
    /// Times and signals of the link.
    pub link: Option<At<RawLink>>,
    /// The `TL_Owner` block, where the PLC has the handshake blocks.
    pub owner: Option<At<RawOwner>>,
    /// `TL_Guard` blocks by the name of the setpoint's node, which reads their `VOut`.
    #[serde(default)]
    pub guard: Named<RawGuard>,
    /// Nodes by the name of their tag.
    #[serde(default)]
    pub node: Named<RawNode>,
    /// Nodes of a kind of asset, with words in braces for what differs.
    #[serde(default)]
    pub template: Named<RawTemplate>,
    /// Assets made from templates: node `temp` of asset `zone_1` is called `zone_1_temp`.
    #[serde(default)]
    pub asset: Named<RawAsset>,
}

/// Nodes of a kind of asset.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    /// Nodes by the last part of their name. `id`, `path`, `index` and `field` may hold words in
    /// braces, such as {n}; {{ and }} are braces themselves.
    pub node: Named<RawNode>,
}

/// One asset.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAsset {
    /// Template that it is made from.
    pub template: At<String>,
    /// Value of each word in braces.
    pub with: Option<At<Named<At<Literal>>>>,
}

/// Name, address, security.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPlc {
    /// Name; the file is called NAME.toml.
    pub name: At<String>,
    /// Address: opc.tcp://HOST:PORT; or a list of addresses of this one PLC, in the order in which
    /// they are tried.
    pub url: At<RawUrls>,
    /// A shipped description of the vendor's server: `s7-1200`, `s7-1500`, `beckhoff`, `rockwell`,
    /// `kepware`. Gives the defaults of what is left out here.
    pub profile: Option<At<String>>,
    /// Interval at which the server sends changes; default "100 ms".
    pub publishing: Option<At<Literal>>,
    /// Short words for namespace URIs, used in node addresses.
    #[serde(default)]
    pub namespaces: Named<At<String>>,
    /// `Basic256Sha256`, `Aes128_Sha256_RsaOaep`, `Aes256_Sha256_RsaPss`, or `none`: to this
    /// machine only, or with `unprotected = true`.
    pub security: At<String>,
    /// `sign-and-encrypt` (default) or `sign`.
    pub security_mode: Option<At<String>>,
    /// true permits `security = "none"` to another machine; a warning stays.
    pub unprotected: Option<At<bool>>,
    /// Who we are to the server; without it nobody in particular.
    pub user: Option<At<RawUser>>,
    /// Free text for people.
    pub note: Option<At<String>>,
    /// Limits of the server, where it does not state them itself.
    pub limits: Option<At<RawPlcLimits>>,
}

/// One address, or several of the same PLC.
#[derive(Clone, Debug)]
pub enum RawUrls {
    /// One.
    One(String),
    /// Several, in the order in which they are tried.
    Several(Vec<At<String>>),
}

/// Who we are to the server: a name with a password, or a certificate. Secrets stay in files of
/// their own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUser {
    /// User name.
    pub name: Option<At<String>>,
    /// File that holds the password and nothing else.
    pub password_file: Option<At<String>>,
    /// Name of a systemd credential that holds the password.
    pub credential: Option<At<String>>,
    /// File of the user's certificate (DER or PEM).
    pub certificate: Option<At<String>>,
    /// File of its private key (PEM).
    pub private_key: Option<At<String>>,
    /// Never: a password has no place in a PLC config.
    #[schemars(skip)]
    pub password: Option<At<String>>,
}

/// Limits of the server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPlcLimits {
    /// Most items in one call of any kind, 1 to 10000; default 1000, or as the profile says.
    pub items_per_call: Option<At<i64>>,
    /// Most values in one read; default `items_per_call`.
    pub read_per_call: Option<At<i64>>,
    /// Most values in one write; default `items_per_call`.
    pub write_per_call: Option<At<i64>>,
    /// Most monitored items made in one call; default `items_per_call`.
    pub monitor_per_call: Option<At<i64>>,
}

/// Life signs both ways.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHeartbeat {
    /// Node into which our counter is written.
    pub write: At<String>,
    /// Node in which the PLC echoes it.
    pub echo: At<String>,
    /// Time between two beats; default "200 ms".
    pub period: Option<At<Literal>>,
    /// Age of the echo after which nothing is written; default "1 s".
    pub timeout: Option<At<Literal>>,
}

/// The `TL_Owner` block of the cell.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOwner {
    /// Address of the block, as id or browse path, such as "press:s=Press4.Owner".
    pub block: At<String>,
    /// Our place in it: "A" or "B".
    pub slot: At<String>,
    /// Addresses of members that are not found by their name below the block.
    #[serde(default)]
    pub members: Named<At<String>>,
}

/// The `TL_Guard` block of a setpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGuard {
    /// Address of the block, as id or browse path, such as "press:s=Press4.HoldPressureGuard".
    pub block: At<String>,
    /// Addresses of members that are not found by their name below the block.
    #[serde(default)]
    pub members: Named<At<String>>,
}

/// Times and signals of the link.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLink {
    /// Silence after which every tag is Stale; default "2 s".
    pub stale: Option<At<Literal>>,
    /// Node of the contact by which the PLC permits writes.
    pub enable: Option<At<String>>,
    /// Node of the PLC's clock [ms since the Unix epoch] that process time follows.
    pub clock: Option<At<String>>,
    /// Largest believable step of that clock; default "10 min".
    pub clock_step: Option<At<Literal>>,
    /// Largest believable difference between a stamp and our clock; default "2 s".
    pub skew: Option<At<Literal>>,
    /// How much of a gap is read from the history that the PLC keeps, where it keeps one;
    /// default "24 h", "0 s" reads nothing.
    pub backfill: Option<At<Literal>>,
}

/// One node: exactly one of `id`, `path`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNode {
    /// ALIAS:s=TEXT, ALIAS:i=NUMBER, ALIAS:g=GUID or ALIAS:b=BASE64; without an alias in the
    /// namespace of OPC UA.
    pub id: Option<At<String>>,
    /// Browse path from the root folder, such as "Objects/press:Press4/press:MeltTemp".
    /// `&` before `/`, `:` or `&` takes it literally.
    pub path: Option<At<String>>,
    /// Element of an array, from 0: "3", or "1,2" with one index per dimension.
    pub index: Option<At<String>>,
    /// Field of a structure: "Pressure", "Actual.Pressure", or "Zones[2].Temp" with an element.
    pub field: Option<At<String>>,
    /// OPC UA type, such as "Double"; checked at connect. Of a part: the part's.
    #[serde(rename = "type")]
    pub kind: Option<At<String>>,
    /// Sampling interval; default "0 ms", as fast as the server can.
    pub sampling: Option<At<Literal>>,
    /// Values kept by the server between two messages, 1 to 1000; default 1, or as the profile
    /// says.
    pub queue: Option<At<i64>>,
    /// Whether setpoints and the heartbeat may write it; default false.
    pub writable: Option<At<bool>>,
}
