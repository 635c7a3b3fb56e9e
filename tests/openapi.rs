//! What the platform says of its own API: that it says it of all of it, and that what it
//! shows to people loads nothing from elsewhere. `harness::described` holds every answer of
//! every test against it.

use crate::{
    both_engines,
    harness::{Engine, Person, Platform, Value},
    layers::sources,
};
use std::{collections::BTreeSet, ffi::OsStr};
use syn::visit::Visit;

async fn document(platform: &Platform) -> Value {
    Person::nobody(&platform.url).get("/openapi.json").await.ok()
}

fn each(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("operations");
        item.iter().map(move |(method, said)| (format!("{method} {path}"), said))
    })
}

/// All links in it.
fn links<'v>(value: &'v Value, all: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(link) => {
                        all.insert(link);
                    }
                    None => links(value, all),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| links(value, all)),
        _ => {}
    }
}

both_engines! {
    async fn every_operation_is_described_as_a_whole(engine: Engine) {
        let platform = Platform::start(engine).await;
        let document = document(&platform).await;
        assert_eq!(document["openapi"], "3.1.0");
        let mut names = BTreeSet::new();
        for (what, said) in each(&document) {
            let name = said["operationId"].as_str().expect("a name");
            assert!(names.insert(name), "{name} is the name of two operations");
            let summary = said["summary"].as_str().unwrap_or_default();
            assert!((8..120).contains(&summary.len()), "{what}: {summary:?} is no summary");
            assert_eq!(said["tags"].as_array().map(Vec::len), Some(1), "{what}");
            let answers = said["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status < &"400".to_owned()), "{what}");
            let open = said["security"].as_array().expect("security").is_empty();
            assert!(open || answers.contains_key("401"), "{what}");
        }
        let mut all = BTreeSet::new();
        links(&document, &mut all);
        for link in all {
            let pointer = link.strip_prefix('#').expect("a link into the document");
            assert!(document.pointer(pointer).is_some(), "{link} leads nowhere");
        }
    }

    async fn the_page_that_shows_it_loads_nothing_from_elsewhere(engine: Engine) {
        let platform = Platform::start(engine).await;
        let reader = Person::nobody(&platform.url);
        let page = reader.get("/docs/").await.having(200);
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"));
        let address = |text: &str| text.contains("http://") || text.contains("https://");
        assert!(!address(&page.text), "{}", page.text);
        assert!(!page.text.contains("<script>"), "a script of its own would not run");
        let start = reader.get("/docs/swagger-initializer.js").await.having(200).text;
        assert!(start.contains("/openapi.json") && !start.contains("petstore"), "{start}");
        reader.get("/docs/swagger-ui-bundle.js").await.having(200);
        reader.get("/docs/nothing.js").await.problem(404, "not_found");
    }
}

/// Routes are described where they are made: there is no other way to make one, but for the
/// description itself, for the metrics' own listener, and for a test of what is deprecated.
#[test]
fn no_route_goes_without_a_description() {
    let routes = sources()
        .into_iter()
        .filter(|(path, text)| path.to_string_lossy().contains("/api") && text.contains(".route("));
    let names: BTreeSet<_> =
        routes.filter_map(|(path, _)| path.file_name().map(OsStr::to_owned)).collect();
    assert_eq!(names, BTreeSet::from(["deprecation.rs", "docs.rs", "health.rs"].map(Into::into)));
}

/// Of two types of one name only one would be described.
#[test]
fn no_two_described_types_have_one_name() {
    let mut types = Types::default();
    for (_, text) in sources() {
        types.visit_file(&syn::parse_file(&text).expect("Rust"));
    }
    types.names.sort();
    assert!(types.names.len() > 100, "{} types", types.names.len());
    let twice: Vec<_> = types.names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[derive(Default)]
struct Types {
    names: Vec<String>,
}

impl Types {
    fn note(&mut self, attributes: &[syn::Attribute], name: &syn::Ident) {
        let text = |name| {
            let of = attributes.iter().filter(move |it: &&syn::Attribute| it.path().is_ident(name));
            of.filter_map(|it| it.meta.require_list().ok()).map(|it| it.tokens.to_string())
        };
        if text("derive").any(|derived| derived.contains("ToSchema")) {
            let renamed = text("schema").find_map(|said| {
                let (_, name) = said.split_once("as = ")?;
                Some(name.split([',', ' ']).next()?.to_owned())
            });
            self.names.push(renamed.unwrap_or_else(|| name.to_string()));
        }
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.note(&item.attrs, &item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.note(&item.attrs, &item.ident);
    }
}
