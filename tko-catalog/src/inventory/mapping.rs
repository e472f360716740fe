//! Expressions that make ids, templates, metadata and packages of sites: minijinja, within limits.

use super::item::InventoryItem;
use crate::properties::Properties;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value as Expression};
use std::collections::BTreeMap;
use tko_core::merge::merge;
use tko_core::metadata::RESERVED;
use tko_core::{Dialect, Error, Format, Limits, Package, Result, SiteId, TemplateId};

/// Maximum number of steps of one expression, as minijinja counts them.
const FUEL: u64 = 50_000;

/// Maximum number of bytes of one expression.
const MAX_SOURCE: usize = 16 << 10;

/// Maximum number of bytes that one expression may produce.
const MAX_OUTPUT: usize = 1 << 20;

/// The prefix of properties that set metadata.
const METADATA: &str = "metadata.";

/// The expressions of a mapping, not yet compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    id: String,
    template: Option<String>,
    only: Option<String>,
    package: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// A site as it is to be registered.
#[derive(Clone, Debug)]
pub(crate) struct MappedSite {
    pub(crate) id: SiteId,
    pub(crate) template: Option<TemplateId>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) package: Package,
}

/// The compiled mapping.
pub(crate) struct Mapper<'a> {
    mapping: &'a Mapping,
    environment: Environment<'a>,
}

impl Mapping {
    /// Reads the properties of a mapping, and compiles each expression once to find errors.
    ///
    /// # Errors
    /// `BadArgument`: an expression is not valid, or the key of metadata is reserved.
    pub(crate) fn read(properties: Properties<'_>, default_id: &str) -> Result<Self> {
        let text = |name: &str| properties.text(name).map(str::to_owned);
        let metadata = properties.0.iter().filter_map(|(name, text)| {
            let key = name.strip_prefix(METADATA)?;
            Some((key.to_owned(), text.clone()))
        });
        let mapping = Self {
            id: text("id").unwrap_or_else(|| default_id.to_owned()),
            template: text("template"),
            only: text("where"),
            package: text("package"),
            metadata: metadata.collect(),
        };
        if let Some(key) = mapping
            .metadata
            .keys()
            .find(|key| key.starts_with(RESERVED))
        {
            let why =
                format!("metadata that begins with {RESERVED:?} is reserved; choose another key");
            return Err(Error::bad(format!("{METADATA}{key}"), why));
        }
        mapping.compile()?;
        Ok(mapping)
    }

    /// Compiles the expressions.
    ///
    /// # Errors
    /// `BadArgument`: one is not valid, or too long.
    pub(crate) fn compile(&self) -> Result<Mapper<'_>> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        // Values go into ids and YAML, not into HTML.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("slug", slug);
        let texts = [
            ("id", Some(&self.id)),
            ("template", self.template.as_ref()),
            ("package", self.package.as_ref()),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        for (name, text) in texts.chain(self.metadata.iter().map(|(k, v)| (k.as_str(), v))) {
            if text.len() > MAX_SOURCE {
                let why = format!("it is longer than {MAX_SOURCE} bytes");
                return Err(Error::bad(name.to_owned(), why));
            }
        }
        let add = |environment: &mut Environment<'_>, name: String, text: &str| {
            environment
                .add_template_owned(name.clone(), text.to_owned())
                .map_err(|error| Error::bad(name, reason(&error)))
        };
        add(&mut environment, "id".to_owned(), &self.id)?;
        for (name, text) in [("template", &self.template), ("package", &self.package)] {
            if let Some(text) = text {
                add(&mut environment, name.to_owned(), text)?;
            }
        }
        for (key, text) in &self.metadata {
            add(&mut environment, format!("{METADATA}{key}"), text)?;
        }
        if let Some(only) = &self.only {
            let checked = environment.compile_expression(only).map(|_| ());
            checked.map_err(|error| Error::bad("where", reason(&error)))?;
        }
        Ok(Mapper {
            mapping: self,
            environment,
        })
    }
}

impl Mapper<'_> {
    /// The id of an item; `None` if `where` excludes the item.
    ///
    /// # Errors
    /// `BadArgument`: an expression failed, or its value is not an id.
    pub(crate) fn id(&self, item: &InventoryItem) -> Result<Option<SiteId>> {
        let context = context(item);
        if let Some(only) = &self.mapping.only {
            let compiled = self.environment.compile_expression(only);
            let value = compiled.and_then(|expression| expression.eval(context.clone()));
            let value = value.map_err(|error| Error::bad("where", reason(&error)))?;
            if !value.is_true() {
                return Ok(None);
            }
        }
        let text = self.render("id", &context)?;
        // A missing part leaves its separator behind.
        SiteId::new(text.trim().trim_matches('/')).map(Some)
    }

    /// The site that an item becomes.
    ///
    /// # Errors
    /// `BadArgument`: an expression failed, or a value is not valid.
    pub(crate) fn site(&self, item: &InventoryItem, id: SiteId) -> Result<MappedSite> {
        let context = context(item);
        let template = match self.mapping.template {
            Some(_) => Some(self.render("template", &context)?),
            None => item.template.clone(),
        };
        let template = template.map(|text| text.trim().to_owned());
        let template = template.filter(|text| !text.is_empty());
        let mut metadata = item.metadata.clone();
        for key in self.mapping.metadata.keys() {
            let value = self.render(&format!("{METADATA}{key}"), &context)?;
            match value.trim() {
                "" => metadata.remove(key),
                value => metadata.insert(key.clone(), value.to_owned()),
            };
        }
        let mut package = item.package.clone();
        if self.mapping.package.is_some() {
            let text = self.render("package", &context)?;
            let limits = Limits::default();
            let over = Package::decode(text.as_bytes(), Format::Yaml, Dialect::People, &limits)?;
            package = merge(&package, &over)?;
        }
        Ok(MappedSite {
            id,
            template: template.map(|text| TemplateId::new(&text)).transpose()?,
            metadata,
            package,
        })
    }

    fn render(&self, name: &str, context: &Expression) -> Result<String> {
        let bad = |why: String| Error::bad(name.to_owned(), why);
        let template = self.environment.get_template(name);
        let mut out = BoundedText(Vec::new());
        template
            .and_then(|template| {
                template
                    .render_captured_to(context.clone(), &mut out)
                    .map(|_| ())
            })
            .map_err(|error| bad(reason(&error)))?;
        String::from_utf8(out.0).map_err(|_| bad("it is not UTF-8".to_owned()))
    }
}

/// A text that refuses to grow beyond [`MAX_OUTPUT`].
struct BoundedText(Vec<u8>);

impl std::io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            let why = format!("it produces more than {MAX_OUTPUT} bytes");
            return Err(std::io::Error::other(why));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The variables that expressions can use: the fields of the item, its name, and the whole item as
/// `item`.
fn context(item: &InventoryItem) -> Expression {
    let mut map = match &item.value {
        serde_json::Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    map.entry("item").or_insert_with(|| item.value.clone());
    map.insert("name".to_owned(), item.name.as_str().into());
    Expression::from(Serde(&map))
}

/// A text in which every character that is not allowed in ids is replaced by `-`.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for char in text.trim().chars() {
        let char = char.to_ascii_lowercase();
        if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '/' | ':') {
            slug.push(char);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

fn reason(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (minijinja::ErrorKind::OutOfFuel, _) => "it takes too many steps; simplify it".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapping, slug};
    use crate::inventory::item::InventoryItem;
    use crate::properties::Properties;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn mapping(properties: &[(&str, &str)]) -> tko_core::Result<Mapping> {
        let pairs = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let map: BTreeMap<String, String> = pairs.collect();
        Mapping::read(Properties(&map), "{{ name }}")
    }

    fn item() -> InventoryItem {
        InventoryItem {
            name: "South 1".to_owned(),
            value: json!({"region": "south", "load": 3, "tags": ["edge"]}),
            metadata: BTreeMap::from([("kept".into(), "1".into()), ("load".into(), "0".into())]),
            ..InventoryItem::default()
        }
    }

    #[test]
    fn expressions_make_the_site() {
        let mapping = mapping(&[
            ("id", "{{ region }}/{{ name | slug }}"),
            ("template", "{% if 'edge' in tags %}site/edge:v1{% endif %}"),
            ("metadata.load", "{{ load + 1 }}"),
            ("metadata.kept", "{{ missing }}"),
            ("where", "load > 2"),
            (
                "package",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ region }}}}",
            ),
        ]);
        let mapping = mapping.expect("a mapping");
        let mapper = mapping.compile().expect("compiled");
        let id = mapper.id(&item()).expect("an id").expect("chosen");
        assert_eq!(id.as_str(), "south/south-1");
        let site = mapper.site(&item(), id).expect("a site");
        assert_eq!(site.template.expect("a template").as_str(), "site/edge:v1");
        assert_eq!(site.metadata, BTreeMap::from([("load".into(), "4".into())]));
        assert_eq!(site.package.len(), 1);
        assert_eq!(slug(" Ä b/C "), "b/c");
    }

    #[test]
    fn hostile_expressions_end() {
        for bad in ["{{", "{% for %}", "{{ name | nothing }}"] {
            let read = mapping(&[("id", bad)]);
            let failed = read.and_then(|mapping| mapping.compile()?.id(&item()));
            assert!(failed.is_err(), "{bad}");
        }
        for endless in [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "{{ 'x' * 99999999 }}",
        ] {
            let mapping = mapping(&[("id", endless)]).expect("it compiles");
            assert!(mapping.compile().expect("compiled").id(&item()).is_err());
        }
        let nothing = mapping(&[("where", "load > 5")]).expect("a mapping");
        let chosen = nothing.compile().expect("compiled").id(&item());
        assert!(chosen.expect("an answer").is_none());
    }
}
