//! Does a component mean the same by an interface's functions as the world does?
//!
//! Wasmtime's linker asks that too, but only after compiling, and stops at the
//! first difference. Here both sides are written out as text, function by
//! function, and every difference is named.

use crate::error::Problem;
use std::sync::LazyLock;
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, WorldItem, WorldKey,
};

/// The world, as it is in `wit/`.
static OFFERED: LazyLock<Resolve> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    resolve
        .push_str("agent.wit", include_str!("../../../wit/agent.wit"))
        .expect("the world parses: bindgen! has parsed it");
    resolve
});

const PACKAGE: &str = "aiybiz:agent/";

/// Is `name` an interface of the world that a guest may import?
pub(super) fn offers(name: &str) -> bool {
    let Some((interface, version)) = name.strip_prefix(PACKAGE).and_then(|n| n.split_once('@'))
    else {
        return false;
    };
    version.starts_with("0.1.") && interface != "handler" && find(interface).is_some()
}

/// Every function of the component's that is not the platform's.
pub(super) fn differences(component: &[u8]) -> Vec<Problem> {
    let (theirs, world) = match wit_component::decode(component) {
        Ok(wit_component::DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(_) => return vec![problem("body", "is a WIT package, not a component")],
        Err(error) => return vec![problem("body", &format!("{error:#}"))],
    };
    let world = &theirs.worlds[world];
    let mut found = Vec::new();
    for (key, item) in &world.imports {
        if let Some((name, ours)) = matching(&theirs, key, item) {
            found.extend(compare(&theirs, item, ours, &name, Side::Import));
        }
    }
    for (key, item) in &world.exports {
        if let Some((name, ours)) = matching(&theirs, key, item) {
            found.extend(compare(&theirs, item, ours, &name, Side::Export));
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The guest may use less than there is.
    Import,
    /// The guest must have all there is.
    Export,
}

/// The world's interface of the same name, if the item is one of the package.
fn matching(theirs: &Resolve, key: &WorldKey, item: &WorldItem) -> Option<(String, InterfaceId)> {
    let WorldItem::Interface { .. } = item else { return None };
    let name = theirs.name_world_key(key);
    let interface = name.strip_prefix(PACKAGE)?.split('@').next()?;
    Some((name.clone(), find(interface)?))
}

fn find(interface: &str) -> Option<InterfaceId> {
    let mut all = OFFERED.interfaces.iter();
    all.find(|(_, i)| i.name.as_deref() == Some(interface)).map(|(id, _)| id)
}

fn compare(
    theirs: &Resolve,
    item: &WorldItem,
    ours: InterfaceId,
    name: &str,
    side: Side,
) -> Vec<Problem> {
    let WorldItem::Interface { id, .. } = item else { return Vec::new() };
    let (guest, host) = (&theirs.interfaces[*id].functions, &OFFERED.interfaces[ours].functions);
    let mut found = Vec::new();
    for (function, has) in guest {
        match host.get(function) {
            None if side == Side::Import => {
                found.push(problem(
                    &format!("{name}#{function}"),
                    "is imported, but the platform does not offer it",
                ));
            }
            None => {}
            Some(want) => {
                let (has, want) = (signature(theirs, has), signature(&OFFERED, want));
                if has != want {
                    let why = format!("has the type {has}; the platform's is {want}");
                    found.push(problem(&format!("{name}#{function}"), &why));
                }
            }
        }
    }
    if side == Side::Export {
        for missing in host.keys().filter(|function| !guest.contains_key(*function)) {
            found.push(problem(&format!("{name}#{missing}"), "must be exported"));
        }
    }
    found
}

fn problem(pointer: &str, detail: &str) -> Problem {
    Problem { pointer: pointer.to_owned(), detail: detail.to_owned() }
}

/// `func(id: string, offset: u64) -> result<own reader, variant{not-found, …}>`
fn signature(resolve: &Resolve, function: &Function) -> String {
    let params: Vec<_> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, text(resolve, &param.ty)))
        .collect();
    let kind = if function.kind.is_async() { "async func" } else { "func" };
    let result = function.result.as_ref().map(|ty| format!(" -> {}", text(resolve, ty)));
    format!("{kind}({}){}", params.join(", "), result.unwrap_or_default())
}

fn text(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Id(id) => defined(resolve, *id),
        Type::Bool => "bool".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        // The rest are numbers, whose debug names are their own in upper case.
        number => format!("{number:?}").to_lowercase(),
    }
}

/// A defined type written out, since two sides agree on its shape, not its name.
fn defined(resolve: &Resolve, id: TypeId) -> String {
    let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".into(), |ty| text(resolve, ty));
    let definition = &resolve.types[id];
    let name = || definition.name.clone().unwrap_or_default();
    match &definition.kind {
        TypeDefKind::Type(ty) => text(resolve, ty),
        TypeDefKind::List(ty) => format!("list<{}>", text(resolve, ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", text(resolve, ty)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", optional(&result.ok), optional(&result.err))
        }
        TypeDefKind::Tuple(tuple) => {
            let parts: Vec<_> = tuple.types.iter().map(|ty| text(resolve, ty)).collect();
            format!("tuple<{}>", parts.join(", "))
        }
        TypeDefKind::Record(record) => {
            let fields: Vec<_> = record
                .fields
                .iter()
                .map(|f| format!("{}: {}", f.name, text(resolve, &f.ty)))
                .collect();
            format!("record{{{}}}", fields.join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases: Vec<_> = variant
                .cases
                .iter()
                .map(|case| match &case.ty {
                    Some(ty) => format!("{}({})", case.name, text(resolve, ty)),
                    None => case.name.clone(),
                })
                .collect();
            format!("variant{{{}}}", cases.join(", "))
        }
        TypeDefKind::Enum(cases) => {
            let cases: Vec<_> = cases.cases.iter().map(|case| case.name.clone()).collect();
            format!("enum{{{}}}", cases.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => format!("own {}", original(resolve, *id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow {}", original(resolve, *id)),
        TypeDefKind::Resource => format!("resource {}", name()),
        // Kinds the world does not use: the name of the kind is difference enough.
        other => format!("{} {}", other.as_str(), name()),
    }
}

/// A resource's own name, behind any `use`.
fn original(resolve: &Resolve, id: TypeId) -> String {
    match &resolve.types[id].kind {
        TypeDefKind::Type(Type::Id(id)) => original(resolve, *id),
        _ => resolve.types[id].name.clone().unwrap_or_default(),
    }
}
