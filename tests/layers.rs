//! The house rules that a machine can hold: imports point down, every file opens by
//! saying its idea, no file is too long to read, SQL engines are named in one place.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use syn::{
    ItemUse, UseTree,
    visit::{self, Visit},
};

/// From the top down; a module may use those below its own row, and nothing beside
/// it but what its row says.
const LAYERS: [&[&str]; 9] = [
    &["main"],
    &["cli"],
    &["demo"],
    &["serve"],
    &["api"],
    &["work"],
    &["host"],
    &["config"],
    &[
        "accounts",
        "audit",
        "billing",
        "catalog",
        "sessions",
        "files",
        "delivery",
        "policy",
        "sandbox",
        "notifications",
        "mails",
        "idempotency",
    ],
];

/// Those below: the nouns and what they stand on, in the order in which each may
/// use the ones after it.
const BELOW: [(&str, &[&str]); 25] = [
    (
        "accounts",
        &["audit", "mails", "reseal", "storage", "error", "clock", "id", "timestamp", "seal"],
    ),
    ("audit", &["storage", "error", "clock", "id", "timestamp"]),
    (
        "billing",
        &["notifications", "payments", "storage", "error", "clock", "id", "timestamp", "money"],
    ),
    ("catalog", &["reseal", "storage", "error", "clock", "id", "timestamp", "seal"]),
    (
        "sessions",
        &[
            "billing",
            "catalog",
            "notifications",
            "reseal",
            "storage",
            "error",
            "clock",
            "id",
            "timestamp",
            "seal",
        ],
    ),
    ("notifications", &["mails", "storage", "error", "clock", "id", "timestamp"]),
    ("idempotency", &["storage", "error", "clock", "id", "timestamp", "seal"]),
    ("mails", &["storage", "error", "clock", "id", "timestamp"]),
    ("files", &["storage", "error", "clock", "id", "timestamp", "seal"]),
    ("delivery", &["sandbox", "net", "clock", "id", "timestamp", "error"]),
    ("payments", &["seal", "clock", "id", "timestamp"]),
    ("policy", &["audit", "sandbox", "storage", "error", "clock", "id"]),
    // A component's requests go out the way that webhooks go.
    ("sandbox", &["objects", "net", "error", "id", "timestamp", "seal"]),
    ("reseal", &["storage", "seal", "clock", "error"]),
    ("storage", &["error", "clock", "timestamp"]),
    ("pace", &["id"]),
    ("bus", &["storage", "id"]),
    ("objects", &["error"]),
    ("net", &["error"]),
    ("seal", &["clock", "error"]),
    ("clock", &["timestamp"]),
    ("error", &[]),
    ("id", &[]),
    ("money", &[]),
    ("metrics", &[]),
];

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        assert!(!text.contains("super::super"), "{} climbs two floors", file.display());
        let module = module_of(&file);
        for used in used_modules(&text) {
            if used != module && !allowed(&module, &used) {
                wrong.push(format!("{}: {module} uses {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The test itself is tested: it sees what it must see.
#[test]
fn an_upward_import_is_seen() {
    let text =
        "use crate::{error::{Error, Kind}, api};\nfn f() -> crate::host::Host { crate::work::g() }";
    assert_eq!(used_modules(text), ["api", "error", "host", "work"]);
    assert!(!allowed("sessions", "api"));
    assert!(!allowed("sandbox", "storage"));
    assert!(!allowed("api", "cli"));
    assert!(allowed("api", "sessions"));
}

#[test]
fn every_file_says_its_idea_and_can_be_read_in_one_go() {
    for (file, text) in sources() {
        let name = file.display();
        assert!(text.starts_with("//! "), "{name} does not open with //!");
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines");
    }
}

#[test]
fn the_engines_are_named_in_storage_only() {
    // timestamp.rs says how a time is kept on each; hints.rs speaks NOTIFY.
    let may = [
        "storage.rs",
        "timestamp.rs",
        "hints.rs",
        "query.rs",
        "group.rs",
        "checkpoint.rs",
        "append_only.rs",
        "skew.rs",
        "snapshot.rs",
    ];
    for (file, text) in sources() {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let named = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = named.filter(|line| line.contains("Sqlite") || line.contains("Postgres"));
        assert!(may.contains(&name) || named.count() == 0, "{}", file.display());
    }
}

fn allowed(module: &str, used: &str) -> bool {
    let row = |name: &str| LAYERS.iter().position(|row| row.contains(&name));
    if let Some((_, below)) = BELOW.iter().find(|(name, _)| *name == module) {
        return below.contains(&used);
    }
    match (row(module), row(used)) {
        (Some(own), Some(other)) => own < other,
        // A layer on top may use anything further down.
        (Some(_), None) => true,
        _ => false,
    }
}

fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root()).expect("a source of ours");
    let first = inside.components().next().expect("a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The modules named after `crate::`, in imports and anywhere else.
fn used_modules(text: &str) -> Vec<String> {
    struct Used(BTreeSet<String>);

    impl<'ast> Visit<'ast> for Used {
        fn visit_item_use(&mut self, item: &'ast ItemUse) {
            if let UseTree::Path(path) = &item.tree
                && path.ident == "crate"
            {
                self.first(&path.tree);
            }
        }

        fn visit_path(&mut self, path: &'ast syn::Path) {
            let mut names = path.segments.iter().map(|segment| segment.ident.to_string());
            if names.next().as_deref() == Some("crate") {
                self.0.extend(names.next());
            }
            visit::visit_path(self, path);
        }
    }

    impl Used {
        fn first(&mut self, tree: &UseTree) {
            match tree {
                UseTree::Path(path) => self.0.extend([path.ident.to_string()]),
                UseTree::Name(name) => self.0.extend([name.ident.to_string()]),
                UseTree::Rename(rename) => self.0.extend([rename.ident.to_string()]),
                UseTree::Group(group) => group.items.iter().for_each(|item| self.first(item)),
                UseTree::Glob(_) => {}
            }
        }
    }

    let mut used = Used(BTreeSet::new());
    used.visit_file(&syn::parse_file(text).expect("well-formed Rust"));
    used.0.into_iter().collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn sources() -> Vec<(PathBuf, String)> {
    let (mut found, mut open) = (Vec::new(), vec![root()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    found
}
