//! Node addresses: namespace URI and identifier, or a browse path. Never a namespace index.

/// URI of the namespace of OPC UA itself, for addresses without an alias.
pub const OPC_UA: &str = "http://opcfoundation.org/UA/";

/// Where a node is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// By identifier.
    Id {
        /// Namespace URI.
        namespace: String,
        /// Identifier in it.
        identifier: Identifier,
    },
    /// By browse names from the root folder.
    Path(Vec<Segment>),
    /// An element of an array, a field of a structure, or a field of an element.
    Part {
        /// The node; never a part itself.
        of: Box<Address>,
        /// Which part of its value.
        part: Part,
    },
}

/// A part of a node's value: first the element, then the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// One index per dimension, from 0; empty takes the whole value.
    pub index: Vec<u32>,
    /// Fields from the outermost structure inwards; empty takes the value itself.
    pub field: Vec<Step>,
}

/// One field on the way into a structure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Element of it, where it is an array; one index per dimension, from 0.
    pub index: Vec<u32>,
}

impl Part {
    /// As people write it: `[3].Zones[2].Temp`.
    pub fn text(&self) -> String {
        let index = |index: &[u32]| match index {
            [] => String::new(),
            some => {
                let numbers: Vec<String> = some.iter().map(ToString::to_string).collect();
                format!("[{}]", numbers.join(","))
            }
        };
        let mut text = index(&self.index);
        for step in &self.field {
            text.push('.');
            text.push_str(&step.name);
            text.push_str(&index(&step.index));
        }
        text
    }
}

/// The four kinds of identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identifier {
    /// `s=`
    Text(String),
    /// `i=`
    Numeric(u32),
    /// `g=`, in network order.
    Guid([u8; 16]),
    /// `b=`, decoded.
    Opaque(Vec<u8>),
}

/// One step of a browse path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Namespace URI of the browse name.
    pub namespace: String,
    /// Browse name.
    pub name: String,
}

impl Address {
    /// The key and the text that a PLC config holds for it: `("id", "press:s=MeltTemp")`. `alias`
    /// gives the short word of a namespace URI. Of a part, the address of its node.
    ///
    /// `None` when a namespace has no alias, or when no text stands for it (an empty identifier,
    /// a path without steps).
    pub fn write(&self, alias: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
        let head = |namespace: &str| match namespace {
            OPC_UA => Some(String::new()),
            other => Some(format!("{}:", alias(other)?)),
        };
        match self {
            Self::Id { namespace, identifier } => {
                let text = identifier.write();
                let empty = match identifier {
                    Identifier::Text(text) => text.is_empty(),
                    Identifier::Opaque(bytes) => bytes.is_empty(),
                    Identifier::Numeric(_) | Identifier::Guid(_) => false,
                };
                (!empty).then_some(("id", format!("{}{text}", head(namespace)?)))
            }
            Self::Path(segments) => {
                let steps: Option<Vec<String>> = segments
                    .iter()
                    .filter(|segment| !segment.name.is_empty())
                    .map(|segment| {
                        let mut text = head(&segment.namespace)?;
                        for letter in segment.name.chars() {
                            if matches!(letter, '&' | '/' | ':') {
                                text.push('&');
                            }
                            text.push(letter);
                        }
                        Some(text)
                    })
                    .collect();
                steps.filter(|steps| !steps.is_empty()).map(|steps| ("path", steps.join("/")))
            }
            Self::Part { of, .. } => of.write(alias),
        }
    }
}

impl Identifier {
    /// As [`parse_id`] reads it, without the namespace: `s=MeltTemp`.
    pub fn write(&self) -> String {
        match self {
            Self::Text(text) => format!("s={text}"),
            Self::Numeric(number) => format!("i={number}"),
            Self::Guid(bytes) => {
                let hex = format!("{:032x}", u128::from_be_bytes(*bytes));
                let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
                let (a, b, c) = (part(0, 8), part(8, 12), part(12, 16));
                format!("g={a}-{b}-{c}-{}-{}", part(16, 20), part(20, 32))
            }
            Self::Opaque(bytes) => format!("b={}", to_base64(bytes)),
        }
    }
}

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// No such alias.
    Alias(String),
    /// Not of the form of an address; what is wrong.
    Shape(&'static str),
}

/// Reads `alias:s=Press4.MeltTemp`. `uri` gives the URI of an alias.
///
/// # Errors
/// [`AddressError`] when it is none.
pub fn parse_id(text: &str, uri: impl Fn(&str) -> Option<String>) -> Result<Address, AddressError> {
    let (head, value) = text.split_once('=').ok_or(AddressError::Shape("has no `=`"))?;
    let (alias, kind) = match head.rsplit_once(':') {
        Some((alias, kind)) => (Some(alias), kind),
        None => (None, head),
    };
    if value.is_empty() || value.len() > 4096 {
        return Err(AddressError::Shape("the identifier must have 1 to 4096 bytes"));
    }
    let identifier = match kind {
        "s" => Identifier::Text(value.to_owned()),
        "i" => {
            let digits = value.bytes().all(|b| b.is_ascii_digit());
            let number = value.parse().ok().filter(|_| digits);
            Identifier::Numeric(
                number.ok_or(AddressError::Shape("`i=` takes a number below 2^32"))?,
            )
        }
        "g" => Identifier::Guid(
            guid(value).ok_or(AddressError::Shape("`g=` takes 8-4-4-4-12 hexadecimal digits"))?,
        ),
        "b" => Identifier::Opaque(base64(value).ok_or(AddressError::Shape("`b=` takes Base64"))?),
        _ => return Err(AddressError::Shape("the kind must be s, i, g or b")),
    };
    Ok(Address::Id { namespace: namespace(alias, uri)?, identifier })
}

/// Reads `Objects/press:Press4/press:MeltTemp`.
///
/// # Errors
/// [`AddressError`] when it is none.
pub fn parse_path(
    text: &str,
    uri: impl Fn(&str) -> Option<String>,
) -> Result<Address, AddressError> {
    let mut segments = Vec::new();
    let (mut alias, mut name, mut chars) = (None, String::new(), text.chars());
    loop {
        match chars.next() {
            Some('&') => name.push(chars.next().ok_or(AddressError::Shape("ends with `&`"))?),
            Some(':') if alias.is_none() => alias = Some(std::mem::take(&mut name)),
            end @ (Some('/') | None) => {
                if name.is_empty() {
                    return Err(AddressError::Shape("has an empty step"));
                }
                let namespace = namespace(alias.take().as_deref(), &uri)?;
                segments.push(Segment { namespace, name: std::mem::take(&mut name) });
                if segments.len() > 32 {
                    return Err(AddressError::Shape("has more than 32 steps"));
                }
                if end.is_none() {
                    return Ok(Address::Path(segments));
                }
            }
            Some(other) => name.push(other),
        }
    }
}

/// Reads `3` or `1,2`: one index per dimension, from 0.
///
/// # Errors
/// [`AddressError`] when it is none.
pub fn parse_index(text: &str) -> Result<Vec<u32>, AddressError> {
    let shape = AddressError::Shape("an index is a number from 0, or one per dimension: \"1,2\"");
    let numbers: Vec<&str> = text.split(',').map(str::trim).collect();
    if numbers.len() > 8 {
        return Err(AddressError::Shape("has more than 8 dimensions"));
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    numbers.into_iter().map(number).collect::<Option<_>>().ok_or(shape)
}

/// Reads `Actual.Pressure` or `Zones[2].Temp`.
///
/// # Errors
/// [`AddressError`] when it is none.
pub fn parse_field(text: &str) -> Result<Vec<Step>, AddressError> {
    let mut steps = Vec::new();
    for step in text.split('.') {
        let (name, index) = match step.split_once('[') {
            None => (step, Vec::new()),
            Some((name, rest)) => {
                let index = rest.strip_suffix(']').ok_or(AddressError::Shape("has no `]`"))?;
                (name, parse_index(index)?)
            }
        };
        if name.trim().is_empty() {
            return Err(AddressError::Shape("has an empty field name"));
        }
        steps.push(Step { name: name.trim().to_owned(), index });
    }
    if steps.len() > 16 {
        return Err(AddressError::Shape("goes deeper than 16 fields"));
    }
    Ok(steps)
}

fn namespace(
    alias: Option<&str>,
    uri: impl Fn(&str) -> Option<String>,
) -> Result<String, AddressError> {
    match alias {
        None => Ok(OPC_UA.to_owned()),
        Some(alias) => uri(alias).ok_or_else(|| AddressError::Alias(alias.to_owned())),
    }
}

fn guid(text: &str) -> Option<[u8; 16]> {
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    let hex: String = text.split('-').collect();
    if lengths != [8, 4, 4, 4, 12] || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&hex, 16).ok().map(u128::to_be_bytes)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let short = body.len() % 4;
    if short == 1 || (padding != 0 && !(short + padding).is_multiple_of(4)) || padding > 2 {
        return None;
    }
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0_u32);
    for byte in body.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
        }
    }
    Some(out)
}

fn to_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place) & 63) as usize;
            let letter = LETTERS.get(six).copied().unwrap_or(b'A');
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Host of an `opc.tcp` address, without brackets; `None` when it is none.
pub(super) fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("opc.tcp://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, port) = inner.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let good_host = !host.is_empty() && !host.contains([' ', '@', '?', '#']);
    (good_port && good_host).then_some(host)
}

/// Whether a host is this machine's loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(alias: &str) -> Option<String> {
        (alias == "press").then(|| "urn:x".to_owned())
    }

    /// The four kinds of identifier, with and without alias.
    #[test]
    fn identifiers() {
        let id = |text: &str| match parse_id(text, uri) {
            Ok(Address::Id { namespace, identifier }) => (namespace, identifier),
            other => panic!("{text}: {other:?}"),
        };
        let text = Identifier::Text("Press4.Melt:x=1".to_owned());
        assert_eq!(id("press:s=Press4.Melt:x=1"), ("urn:x".to_owned(), text));
        assert_eq!(id("i=2258"), (OPC_UA.to_owned(), Identifier::Numeric(2258)));
        assert_eq!(id("press:b=AQID").1, Identifier::Opaque(vec![1, 2, 3]));
        assert_eq!(id("press:b=AQI=").1, Identifier::Opaque(vec![1, 2]));
        let guid = id("press:g=00010203-0405-0607-0809-0a0b0c0d0e0f").1;
        assert_eq!(guid, Identifier::Guid(std::array::from_fn(|i| u8::try_from(i).unwrap())));
        for text in
            ["", "press:MeltTemp", "press:i=-1", "press:g=1", "x=1", "press:s=", "press:b=A"]
        {
            assert!(matches!(parse_id(text, uri), Err(AddressError::Shape(_))), "{text}");
        }
        assert_eq!(parse_id("pres:i=1", uri), Err(AddressError::Alias("pres".to_owned())));
    }

    /// Paths are cut at slashes that are not escaped.
    #[test]
    fn paths() {
        let Ok(Address::Path(steps)) = parse_path("Objects/press:A&/B/press:c:d", uri) else {
            panic!("no path");
        };
        let names: Vec<_> = steps.iter().map(|s| (s.namespace.as_str(), s.name.as_str())).collect();
        assert_eq!(names, [(OPC_UA, "Objects"), ("urn:x", "A/B"), ("urn:x", "c:d")]);
        for text in ["", "Objects//x", "Objects/", "x&"] {
            assert!(matches!(parse_path(text, uri), Err(AddressError::Shape(_))), "{text}");
        }
    }

    /// Parts are read as people write them.
    #[test]
    fn parts() {
        assert_eq!(parse_index("3"), Ok(vec![3]));
        assert_eq!(parse_index("1, 2"), Ok(vec![1, 2]));
        for text in ["", "-1", "1:2", "1,", "x", "+1", "4294967296", "1,1,1,1,1,1,1,1,1"] {
            assert!(matches!(parse_index(text), Err(AddressError::Shape(_))), "{text}");
        }
        let field = parse_field("Zones[2].Temp").unwrap();
        let part = Part { index: vec![1, 0], field };
        assert_eq!(part.text(), "[1,0].Zones[2].Temp");
        for text in ["", "A.", ".A", "A[", "A[]", "A[x]", "[1]"] {
            assert!(matches!(parse_field(text), Err(AddressError::Shape(_))), "{text}");
        }
    }

    proptest! {
        /// What is written of an address is read as the same address.
        #[test]
        fn written_addresses_are_read_back(
            text in "[ -~]{1,12}",
            number in any::<u32>(),
            guid in any::<[u8; 16]>(),
            bytes in proptest::collection::vec(any::<u8>(), 1..9),
            steps in proptest::collection::vec((proptest::sample::select(vec!["urn:x".to_owned(), OPC_UA.to_owned()]), "[ -~]{1,9}"), 1..5),
        ) {
            let alias = |uri: &str| (uri == "urn:x").then(|| "press".to_owned());
            let ids = [
                Identifier::Text(text),
                Identifier::Numeric(number),
                Identifier::Guid(guid),
                Identifier::Opaque(bytes),
            ];
            for identifier in ids {
                for namespace in ["urn:x", OPC_UA] {
                    let namespace = namespace.to_owned();
                    let address = Address::Id { namespace, identifier: identifier.clone() };
                    let (key, text) = address.write(alias).unwrap();
                    prop_assert_eq!((key, parse_id(&text, uri)), ("id", Ok(address)));
                }
            }
            let steps = steps.into_iter();
            let path = steps.map(|(namespace, name)| Segment { namespace, name }).collect();
            let address = Address::Path(path);
            let (key, text) = address.write(alias).unwrap();
            prop_assert_eq!((key, parse_path(&text, uri)), ("path", Ok(address)));
        }

        /// No text makes the readers panic.
        #[test]
        fn never_panics(text in "[a-z:=/&+0-9-]{0,40}") {
            let _ = parse_id(&text, uri);
            let _ = parse_path(&text, uri);
        }
    }

    /// Hosts are taken out of addresses, and what is no address is refused.
    #[test]
    fn hosts() {
        for (url, expected) in [
            ("opc.tcp://127.0.0.1:4855", Some("127.0.0.1")),
            ("opc.tcp://[::1]:4840/path", Some("::1")),
            ("opc.tcp://press", Some("press")),
            ("http://press", None),
            ("opc.tcp://", None),
            ("opc.tcp://press:0", None),
            ("opc.tcp://press:abc", None),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
