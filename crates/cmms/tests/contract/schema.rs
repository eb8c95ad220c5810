//! Schemas of vendors, where they are: requests are held against them. They may not be passed on,
//! so they are found through an environment variable, and the check is skipped by name without it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const FOLDER: &str = "TRIMLOOP_REFERENCE_SCHEMAS";

/// The text of a schema, or `None` after saying that the check is skipped.
fn text(test: &str, file: &str) -> Option<String> {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let found =
        folder.and_then(|folder| std::fs::read_to_string(Path::new(&folder).join(file)).ok());
    if found.is_none() {
        let line = format!("skipped: {test}: the vendor's schema ({FOLDER} has no {file})\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap_or_default();
    }
    found
}

/// `MaintainX`'s OpenAPI 3.0.
pub struct OpenApi {
    paths: Value,
    bodies: BTreeMap<&'static str, (jsonschema::Validator, Vec<String>)>,
}

impl OpenApi {
    pub fn load(test: &str) -> Option<Self> {
        let whole: Value =
            serde_json::from_str(&text(test, "maintainx-openapi-original.json")?).unwrap();
        let mut bodies = BTreeMap::new();
        for path in ["/workorders", "/workorders/{id}/comments"] {
            let place = "/requestBody/content/application~1json/schema";
            let mut schema = whole["paths"][path]["post"].pointer(place).unwrap().clone();
            let properties = schema["properties"].as_object().unwrap();
            let names = properties.keys().cloned().collect();
            draft_4(&mut schema);
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4);
            let validator = options.should_validate_formats(true).build(&schema).unwrap();
            bodies.insert(path, (validator, names));
        }
        // A list: what holds for one of its items.
        let place = "/requestBody/content/application~1json/schema/items";
        let mut schema = whole["paths"]["/meterreadings"]["post"].pointer(place).unwrap().clone();
        let names = schema["properties"].as_object().unwrap().keys().cloned().collect();
        draft_4(&mut schema);
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft4);
        bodies.insert("/meterreadings", (options.build(&schema).unwrap(), names));
        Some(Self { paths: whole["paths"].clone(), bodies })
    }

    /// What is wrong with a body; names that the schema lacks pass it, so they are looked for.
    pub fn body(&self, path: &str, body: &Value) -> Vec<String> {
        let (validator, names) = &self.bodies[path];
        let mut wrong: Vec<String> =
            validator.iter_errors(body).map(|error| format!("{path}: {error}")).collect();
        let given = body.as_object().into_iter().flatten();
        let unknown = given.filter(|(name, _)| !names.contains(name));
        wrong.extend(unknown.map(|(name, _)| format!("{path}: there is no {name}")));
        wrong
    }

    /// What is wrong with a body that is a list.
    pub fn items(&self, path: &str, body: &Value) -> Vec<String> {
        let Some(items) = body.as_array() else { return vec![format!("{path}: is no list")] };
        items.iter().flat_map(|item| self.body(path, item)).collect()
    }

    /// What is wrong with the questions of a list.
    pub fn query(&self, path: &str, query: &[(String, String)]) -> Vec<String> {
        let known = self.paths[path]["get"]["parameters"].as_array().unwrap();
        let check = |(name, value): &(String, String)| {
            let found = known.iter().find(|one| one["name"] == name.as_str());
            let Some(found) = found else { return Some(format!("{path}: no parameter {name}")) };
            let schema = &found["schema"];
            let number = value.parse::<i64>().ok();
            let is_wrong = match schema["type"].as_str() {
                Some("integer") => {
                    let max = schema["maximum"].as_i64().unwrap_or(i64::MAX);
                    let min = schema["minimum"].as_i64().unwrap_or(i64::MIN);
                    !number.is_some_and(|number| (min..=max).contains(&number))
                }
                Some("boolean") => value != "true" && value != "false",
                Some("array") => schema
                    .pointer("/items/enum")
                    .and_then(Value::as_array)
                    .is_some_and(|words| !words.iter().any(|word| word == value.as_str())),
                _ => false,
            };
            is_wrong.then(|| format!("{path}: {name}={value} is not {schema}"))
        };
        query.iter().filter_map(check).collect()
    }
}

/// OpenAPI 3.0 says "or null" in a way that JSON Schema does not know.
fn draft_4(schema: &mut Value) {
    if let Value::Object(object) = schema {
        if object.remove("nullable") == Some(json!(true)) {
            if let Some(kind) = object.get("type").cloned() {
                object.insert("type".to_owned(), json!([kind, "null"]));
            }
            for list in ["enum", "oneOf"] {
                let null = if list == "enum" { Value::Null } else { json!({"type": "null"}) };
                if let Some(Value::Array(all)) = object.get_mut(list) {
                    all.push(null);
                }
            }
        }
        object.values_mut().for_each(draft_4);
    } else if let Value::Array(all) = schema {
        all.iter_mut().for_each(draft_4);
    }
}

/// A property of an entity of OData.
struct Property {
    kind: String,
    length: Option<usize>,
    creatable: bool,
    updatable: bool,
    filterable: bool,
    upper: bool,
}

/// SAP's metadata of notifications.
pub struct Edmx {
    properties: BTreeMap<String, Property>,
    required: Vec<String>,
}

impl Edmx {
    pub fn load(test: &str) -> Option<Self> {
        let text = text(test, "sap-api-maintnotification.edmx")?;
        let document = roxmltree::Document::parse(&text).unwrap();
        let entity = document.descendants().find(|node| {
            node.tag_name().name() == "EntityType"
                && node.attribute("Name") == Some("MaintenanceNotificationType")
        });
        let mut properties = BTreeMap::new();
        let mut required = Vec::new();
        for node in entity.unwrap().children().filter(|n| n.tag_name().name() == "Property") {
            let sap = |name: &str| {
                let found = node.attributes().find(|a| a.name() == name && a.namespace().is_some());
                found.map(|a| a.value().to_owned())
            };
            let yes = |name: &str| sap(name).as_deref() != Some("false");
            let name = node.attribute("Name").unwrap().to_owned();
            if node.attribute("Nullable") == Some("false") && yes("creatable") {
                required.push(name.clone());
            }
            let property = Property {
                kind: node.attribute("Type").unwrap().to_owned(),
                length: node.attribute("MaxLength").and_then(|max| max.parse().ok()),
                creatable: yes("creatable"),
                updatable: yes("updatable"),
                filterable: yes("filterable"),
                upper: sap("display-format").as_deref() == Some("UpperCase"),
            };
            properties.insert(name, property);
        }
        Some(Self { properties, required })
    }

    /// What is wrong with a body of a new or a changed notification.
    pub fn body(&self, body: &Value, is_new: bool) -> Vec<String> {
        let given = body.as_object().cloned().unwrap_or_default();
        let mut wrong = Vec::new();
        for name in self.required.iter().filter(|name| is_new && !given.contains_key(*name)) {
            wrong.push(format!("{name} is missing"));
        }
        for (name, value) in &given {
            let Some(property) = self.properties.get(name) else {
                wrong.push(format!("there is no {name}"));
                continue;
            };
            let may = if is_new { property.creatable } else { property.updatable };
            if !may {
                wrong.push(format!("{name} may not be given"));
            }
            let text = value.as_str().unwrap_or_default();
            match property.kind.as_str() {
                "Edm.String" => {
                    let length = text.encode_utf16().count();
                    if !value.is_string() || property.length.is_some_and(|max| length > max) {
                        wrong.push(format!("{name} is too long or no text: {value}"));
                    }
                    if property.upper && text != text.to_uppercase() {
                        wrong.push(format!("{name} is not in capitals: {value}"));
                    }
                }
                "Edm.DateTimeOffset"
                    if !text.starts_with("/Date(") || !text.ends_with("+0000)/") =>
                {
                    wrong.push(format!("{name} is no time: {value}"));
                }
                _ => {}
            }
        }
        wrong
    }

    /// What is wrong with the names in a `$filter` or a `$select`.
    pub fn names(&self, text: &str, is_filter: bool) -> Vec<String> {
        // What stands in quotes is a value.
        let outside: String = text.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
        let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named = words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()));
        let check = |word: &str| match self.properties.get(word) {
            None => Some(format!("there is no {word}")),
            Some(property) if is_filter && !property.filterable => {
                Some(format!("{word} cannot be filtered by"))
            }
            Some(_) => None,
        };
        named.filter_map(check).collect()
    }
}
