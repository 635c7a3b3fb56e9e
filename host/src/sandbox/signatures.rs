//! Does a component mean the same by an interface's functions as the world does?
//!
//! Wasmtime's linker asks that too, but only after compiling, and stops at the
//! first difference. Here both sides are written out as text, function by
//! function, and every difference is named.

use super::shape::NAME;
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
    let kind = if function.kind.is_async() { "async func" } else { "func" };
    let mut text = Text { resolve, out: kind.to_owned() };
    let params = function.params.iter().map(|param| (param.name.as_str(), Some(&param.ty)));
    text.list("(", params, ": ", ")");
    if let Some(result) = &function.result {
        text.out.push_str(" -> ");
        text.ty(Some(result));
    }
    text.out
}

/// A signature being written out. A few bytes of types within types can stand for
/// gigabytes of text, so it ends soon after [`Text::MAX`].
struct Text<'a> {
    resolve: &'a Resolve,
    out: String,
}

impl<'a> Text<'a> {
    /// The longest signature of the world's has 600 bytes.
    const MAX: usize = 4_000;

    fn ty(&mut self, ty: Option<&Type>) {
        match ty {
            _ if self.out.len() > Self::MAX => {}
            None => self.out.push('_'),
            Some(Type::Id(id)) => self.defined(*id),
            // The rest are numbers and texts, whose debug names are their own in
            // another case.
            Some(plain) => self.out.push_str(&format!("{plain:?}").to_lowercase()),
        }
    }

    fn list<'b>(
        &mut self,
        open: &str,
        items: impl Iterator<Item = (&'b str, Option<&'b Type>)>,
        between: &str,
        close: &str,
    ) {
        self.out.push_str(open);
        for (n, (name, ty)) in items.enumerate() {
            if self.out.len() > Self::MAX {
                break;
            }
            self.out.push_str(if n == 0 { "" } else { ", " });
            self.out.extend(name.chars().take(NAME));
            if ty.is_some() {
                self.out.push_str(between);
                self.ty(ty);
            }
        }
        self.out.push_str(close);
    }

    /// A defined type written out, since two sides agree on its shape, not its name.
    fn defined(&mut self, id: TypeId) {
        let resolve: &'a Resolve = self.resolve;
        let definition = &resolve.types[id];
        let named = |ty| ("", ty);
        match &definition.kind {
            TypeDefKind::Type(ty) => self.ty(Some(ty)),
            TypeDefKind::List(ty) => self.list("list<", [named(Some(ty))].into_iter(), "", ">"),
            TypeDefKind::Option(ty) => self.list("option<", [named(Some(ty))].into_iter(), "", ">"),
            TypeDefKind::Result(result) => {
                self.out.push_str("result<");
                self.ty(result.ok.as_ref());
                self.out.push_str(", ");
                self.ty(result.err.as_ref());
                self.out.push('>');
            }
            TypeDefKind::Tuple(tuple) => {
                self.list("tuple<", tuple.types.iter().map(|ty| named(Some(ty))), "", ">");
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|f| (f.name.as_str(), Some(&f.ty)));
                self.list("record{", fields, ": ", "}");
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| (case.name.as_str(), case.ty.as_ref()));
                self.list("variant{", cases, " ", "}");
            }
            TypeDefKind::Enum(cases) => {
                self.list("enum{", cases.cases.iter().map(|c| (c.name.as_str(), None)), "", "}");
            }
            TypeDefKind::Handle(Handle::Own(id)) => self.word("own", original(resolve, *id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => self.word("borrow", original(resolve, *id)),
            // Kinds the world does not use: the name of the kind is difference enough.
            other => self.word(other.as_str(), definition.name.as_deref().unwrap_or_default()),
        }
    }

    fn word(&mut self, word: &str, name: &str) {
        self.out.push_str(word);
        self.out.push(' ');
        self.out.extend(name.chars().take(NAME));
    }
}

/// A resource's own name, behind any `use`.
fn original(resolve: &Resolve, id: TypeId) -> &str {
    match &resolve.types[id].kind {
        TypeDefKind::Type(Type::Id(id)) => original(resolve, *id),
        _ => resolve.types[id].name.as_deref().unwrap_or_default(),
    }
}
