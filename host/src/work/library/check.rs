//! Goes through libraries and store, and says where they disagree.

use crate::{error::Result, files::check, objects::Objects, storage::Db};
use futures::TryStreamExt;

/// Files looked at in one transaction.
const BATCH: i64 = 500;

/// What is wrong, a sentence each. Nothing is changed.
pub async fn check(db: &Db, objects: &Objects) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for found in check::miscounts(&mut db.read().await?).await? {
        wrong.push(format!(
            "company {}: has {} bytes in {} nodes, and {} bytes in {} nodes are counted",
            found.company_id, found.bytes, found.nodes, found.counted_bytes, found.counted_nodes
        ));
    }
    lost(db, objects, &mut wrong).await?;
    orphans(db, objects, &mut wrong).await?;
    Ok(wrong)
}

/// Files without their bytes.
async fn lost(db: &Db, objects: &Objects, wrong: &mut Vec<String>) -> Result<()> {
    let mut after = None;
    loop {
        let files = check::files(&mut db.read().await?, after, BATCH).await?;
        for file in &files {
            let key = file.key().unwrap_or_default();
            let size = objects.size(key).await?;
            let expected = file.file_size.and_then(|size| u64::try_from(size).ok());
            if size.is_none() {
                wrong.push(format!("file {}: its object {key} is not in the store", file.id));
            } else if size != expected {
                let (size, expected) = (size.unwrap_or(0), expected.unwrap_or(0));
                wrong.push(format!("file {}: has {expected} bytes, its object {size}", file.id));
            }
        }
        after = files.last().map(|file| file.id);
        if (files.len() as i64) < BATCH {
            return Ok(());
        }
    }
}

/// Objects that nothing names. Those of components are not files.
async fn orphans(db: &Db, objects: &Objects, wrong: &mut Vec<String>) -> Result<()> {
    let mut keys = objects.keys();
    while let Some(key) = keys.try_next().await? {
        if key.starts_with("components/") || check::named(&mut db.look().await?, &key).await? {
            continue;
        }
        wrong.push(format!("object {key}: nothing names it"));
    }
    Ok(())
}
