//! Looking around on a server: one session of its own, and only services that read.
//!
//! The session is made as the link makes its own ([`Servers`]), so that what works here works for
//! the service. Every call has the deadline of the link's calls and obeys the server's limits; how
//! much is looked at is bounded ([`Ask::most`]).
//!
//! What is found is told in our own types: addresses with namespace URIs, values as text and JSON.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use opcua::types::{
    AttributeId, DataValue, Error, Identifier as Id, NodeId, ReadValueId, TimestampsToReturn,
    VariableId, Variant,
};
use tokio::time::timeout;
use trimloop_core::time::Utc;
use trimloop_recipe::plc_config::{Address, Identifier, OPC_UA, Part, PerCall, Segment};

use super::check::{Kind, unreadable};
use super::client::Servers;
use super::decode::utc_of;
use super::resolve::{Place, Reader, in_parts, place, server_facts, target};
use super::session::goodbye;
use super::show::{Shown, show};
use super::structure::Taker;
use super::wire::{Ended, News, NewsStream, Opened, Wire};
use super::{LinkConfig, PlcError, Scalar};

/// Deadline of logging in, beyond the question for endpoints.
const LOGIN_MAX: Duration = Duration::from_secs(8);
/// Steps up to the root folder before a path is given up.
const STEPS_MAX: usize = 32;

/// Why looking around ended.
#[derive(Debug, thiserror::Error)]
pub enum ExploreError {
    /// The settings cannot work at all.
    #[error(transparent)]
    Config(#[from] PlcError),
    /// Nobody answers, or not as OPC UA servers do.
    #[error("{0}")]
    Unreachable(String),
    /// The server refuses who we are.
    #[error("{0}")]
    Refused(String),
    /// Something that a person must set right first: security, certificates.
    #[error("{0}")]
    Blocked(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotThere(String),
}

impl From<Ended> for ExploreError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Stopped => Self::Unreachable("stopped".to_owned()),
            Ended::Refused(why) => Self::Refused(why),
            Ended::Blocked(why) => Self::Blocked(why),
            Ended::Lost(why) => Self::Unreachable(why),
            Ended::Weak(level) => Self::Unreachable(format!("its service level is {level}")),
        }
    }
}

impl From<Error> for ExploreError {
    fn from(error: Error) -> Self {
        Self::Unreachable(format!("the server did not answer a request ({error})"))
    }
}

/// A node as people write it on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// An address of a PLC config.
    Address(Address),
    /// `ns=2;s=MeltTemp`: by an index that holds until the next restart only.
    Index(u16, Identifier),
}

/// A node that was read.
#[derive(Clone, Debug)]
pub struct ReadRow {
    /// Its value.
    pub value: Shown,
    /// Status by its OPC UA name.
    pub status: String,
    /// Whether the status is Good.
    pub good: bool,
    /// When the source made it.
    pub source_time: Option<Utc>,
    /// When the server had it.
    pub server_time: Option<Utc>,
    /// Name of its data type.
    pub data_type: String,
}

/// One session for looking around.
pub struct Explorer<'a> {
    pub(super) reader: Reader<'a>,
    /// Namespace URIs by index.
    pub(super) namespaces: Vec<String>,
    /// Most nodes per browse call.
    pub(super) browse_max: usize,
    types: HashMap<NodeId, (String, Kind)>,
}

/// Opens a session, lets `work` look around, and closes the session again.
///
/// # Errors
/// [`ExploreError`], also of the work itself.
pub async fn explore<T>(
    config: &LinkConfig,
    work: impl AsyncFnOnce(&mut Explorer<'_>) -> Result<T, ExploreError>,
) -> Result<T, ExploreError> {
    let Opened { wire, mut news, .. } = Servers::alone(config)?.first().await?;
    timeout(LOGIN_MAX, connected(&mut news)).await.map_err(|_| {
        let why = "the server accepts the connection but does not log us in";
        ExploreError::Unreachable(why.to_owned())
    })??;
    let look = async {
        let mut explorer = Explorer::new(wire.as_ref(), config.per_call).await?;
        work(&mut explorer).await
    };
    let result = tokio::select! {
        biased;
        why = lost(&mut news) => Err(ExploreError::Unreachable(why)),
        result = look => result,
    };
    goodbye(wire.as_ref(), news, None).await;
    result
}

async fn connected(news: &mut NewsStream) -> Result<(), ExploreError> {
    use super::session::verdict;
    match news.next().await {
        Some(News::Connected) => Ok(()),
        Some(News::Lost(status) | News::Failed(status) | News::Ended(status)) => {
            Err(verdict("no connection", status).into())
        }
        None => Err(ExploreError::Unreachable("the session ended".to_owned())),
    }
}

async fn lost(news: &mut NewsStream) -> String {
    loop {
        match news.next().await {
            Some(News::Connected) => {}
            Some(News::Lost(status) | News::Failed(status) | News::Ended(status)) => {
                return format!("the connection was lost ({status})");
            }
            None => return "the session ended".to_owned(),
        }
    }
}

impl<'a> Explorer<'a> {
    async fn new(wire: &'a dyn Wire, per_call: PerCall) -> Result<Self, ExploreError> {
        let (namespaces, limits) = server_facts(wire, per_call).await?;
        let most = VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse;
        let most = [ReadValueId::new_value(most.into())];
        let most = wire.read(&most, TimestampsToReturn::Neither).await?;
        let ours = per_call.other.max(1);
        let browse_max = match most.first().and_then(|data| data.value.as_ref()) {
            Some(Variant::UInt32(most)) if *most > 0 => ours.min(*most as usize),
            _ => ours,
        };
        let reader = Reader { wire, limits };
        Ok(Self { reader, namespaces, browse_max, types: HashMap::new() })
    }

    /// Namespace URIs by their present index.
    #[must_use]
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    pub(super) fn uri(&self, index: u16) -> Option<&str> {
        match index {
            0 => Some(OPC_UA),
            other => self.namespaces.get(usize::from(other)).map(String::as_str),
        }
    }

    /// The address by identifier of a node; `None` in a namespace that the server does not name.
    pub(super) fn address(&self, id: &NodeId) -> Option<Address> {
        let namespace = self.uri(id.namespace)?.to_owned();
        let identifier = match &id.identifier {
            Id::Numeric(number) => Identifier::Numeric(*number),
            Id::String(text) => Identifier::Text(text.to_string()),
            Id::Guid(guid) => Identifier::Guid(guid.to_bytes()),
            Id::ByteString(bytes) => Identifier::Opaque(bytes.as_ref().to_vec()),
        };
        Some(Address::Id { namespace, identifier })
    }

    pub(super) fn segment(&self, name: &opcua::types::QualifiedName) -> Option<Segment> {
        let namespace = self.uri(name.namespace_index)?.to_owned();
        Some(Segment { namespace, name: name.name.to_string() })
    }

    /// The nodes that are sought, or why there is none, in order.
    ///
    /// # Errors
    /// [`ExploreError`] when the server does not answer.
    pub(super) async fn find(
        &mut self,
        sought: &[Sought],
    ) -> Result<Vec<Result<NodeId, String>>, ExploreError> {
        let mut found = Vec::with_capacity(sought.len());
        for one in sought {
            let known = match one {
                Sought::Address(address) => place(address, &self.namespaces),
                Sought::Index(index, identifier) => match self.uri(*index).map(str::to_owned) {
                    Some(namespace) => {
                        let identifier = identifier.clone();
                        place(&Address::Id { namespace, identifier }, &self.namespaces)
                    }
                    None => Err(format!("the server has no namespace of index {index}")),
                },
            };
            found.push(match known {
                Ok(Place::Known(id)) => Ok(id),
                Ok(Place::Path(path)) => {
                    let answers = self.reader.translate(&[path]).await?;
                    answers.first().map_or(Err("the server did not answer".to_owned()), |one| {
                        target(one).map_err(|status| {
                            format!("the browse path leads to no single node ({status})")
                        })
                    })
                }
                Err(why) => Err(why),
            });
        }
        Ok(found)
    }

    /// Reads value, status, times and type of each, or says why it cannot, in order.
    ///
    /// # Errors
    /// [`ExploreError`] when the server does not answer.
    pub async fn read(
        &mut self,
        sought: &[Sought],
    ) -> Result<Vec<Result<ReadRow, String>>, ExploreError> {
        let found = self.find(sought).await?;
        let ids: Vec<NodeId> = found.iter().filter_map(|one| one.clone().ok()).collect();
        let wanted: Vec<ReadValueId> = ids
            .iter()
            .flat_map(|id| {
                [AttributeId::Value, AttributeId::DataType]
                    .map(|of| ReadValueId::new(id.clone(), of))
            })
            .collect();
        let wire = self.reader.wire;
        let values = in_parts(&wanted, &mut self.reader.limits.read, |part| async move {
            wire.read(&part, TimestampsToReturn::Both).await
        })
        .await?;
        let mut rows = Vec::with_capacity(ids.len());
        let parts = sought.iter().zip(&found).filter(|(_, found)| found.is_ok());
        let parts: Vec<Option<&Part>> = parts
            .map(|(sought, _)| match sought {
                Sought::Address(Address::Part { part, .. }) => Some(part),
                _ => None,
            })
            .collect();
        for (pair, part) in values.chunks(2).zip(parts) {
            let [value, kind] = pair else { continue };
            rows.push(self.row(value, kind, part).await?);
        }
        let mut rows = rows.into_iter();
        let gone = || Err("the server did not answer for it".to_owned());
        Ok(found
            .into_iter()
            .map(|one| one.and_then(|_| rows.next().unwrap_or_else(gone)))
            .collect())
    }

    async fn row(
        &mut self,
        value: &DataValue,
        kind: &DataValue,
        part: Option<&Part>,
    ) -> Result<Result<ReadRow, String>, ExploreError> {
        let Some(Variant::NodeId(id)) = &kind.value else {
            return Ok(Err(unreadable(kind.status())));
        };
        let (data_type, _) = self.data_type(id).await?;
        let mut status = value.status();
        let is_structure = match &value.value {
            Some(Variant::ExtensionObject(_)) => true,
            Some(Variant::Array(array)) => {
                matches!(array.values.first(), Some(Variant::ExtensionObject(_)))
            }
            _ => false,
        };
        let layout =
            if is_structure { self.reader.layout(id).await?.ok().map(Arc::new) } else { None };
        let part = part.map(|part| Taker {
            ranged: false,
            index: part.index.clone(),
            layout: layout.clone().filter(|_| !part.field.is_empty()),
            field: part.field.clone(),
        });
        let taken = match (&part, &value.value) {
            (Some(taker), Some(whole)) => match taker.take(whole) {
                Ok(taken) => Some(taken),
                Err(why) => {
                    status = why;
                    None
                }
            },
            (_, whole) => whole.clone(),
        };
        let fields = match (&taken, &layout) {
            (Some(Variant::ExtensionObject(object)), Some(layout)) => layout.show(object),
            _ => None,
        };
        let whole = || taken.as_ref().map_or_else(Shown::nothing, show);
        Ok(Ok(ReadRow {
            value: fields.unwrap_or_else(whole),
            status: status.to_string(),
            good: status.is_good(),
            source_time: value.source_timestamp.as_ref().and_then(utc_of),
            server_time: value.server_timestamp.as_ref().and_then(utc_of),
            data_type,
        }))
    }

    /// Name and kind of a data type; asked once.
    pub(super) async fn data_type(&mut self, id: &NodeId) -> Result<(String, Kind), ExploreError> {
        if let Some(known) = self.types.get(id) {
            return Ok(known.clone());
        }
        let kind = self.reader.kind_of(id).await?;
        let name = [ReadValueId::new(id.clone(), AttributeId::BrowseName)];
        let values = self.reader.read(&name).await?;
        let name = match values.first().and_then(|data| data.value.as_ref()) {
            Some(Variant::QualifiedName(name)) => name.name.to_string(),
            _ => id.to_string(),
        };
        self.types.insert(id.clone(), (name.clone(), kind));
        Ok((name, kind))
    }

    /// Browse names from the root folder down to a node, along the first way up; empty when there
    /// is none that this user may see.
    pub(super) async fn way_to(&mut self, id: &NodeId) -> Result<Vec<Segment>, ExploreError> {
        use opcua::types::{BrowseDescription, BrowseDirection, ObjectId, ReferenceTypeId};
        let root = NodeId::from(ObjectId::RootFolder);
        let (mut at, mut way, mut seen) = (id.clone(), Vec::new(), HashSet::new());
        while at != root && way.len() < STEPS_MAX && seen.insert(at.clone()) {
            let name = [ReadValueId::new(at.clone(), AttributeId::BrowseName)];
            let name = self.reader.read(&name).await?;
            let Some(Variant::QualifiedName(name)) = name.first().and_then(|d| d.value.as_ref())
            else {
                break;
            };
            way.extend(self.segment(name));
            let up = BrowseDescription {
                node_id: at.clone(),
                browse_direction: BrowseDirection::Inverse,
                reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
                include_subtypes: true,
                node_class_mask: 0,
                result_mask: 0,
            };
            let results = self.reader.wire.browse(&[up], 1).await?;
            let parent = results.into_iter().next().and_then(|result| result.references);
            match parent.and_then(|references| references.into_iter().next()) {
                Some(parent) => at = parent.node_id.node_id,
                None => break,
            }
        }
        if at != root {
            return Ok(Vec::new());
        }
        way.reverse();
        Ok(way)
    }
}

/// The scalar that a tag of this kind would hold.
pub(super) fn scalar_of(kind: Kind) -> Option<Scalar> {
    match kind {
        Kind::Scalar(scalar) => Some(scalar),
        Kind::Open | Kind::Other => None,
    }
}
