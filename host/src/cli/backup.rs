//! `aiybiz backup FOLDER`: all that a platform on SQLite and local files consists of, copied
//! while it serves. The copy is a data folder: `aiybiz serve --data-dir FOLDER` goes on
//! from it.
//!
//! An object never changes once something names it, so objects can be copied at any time;
//! they are, before the database is and once more after it, so that what its copy names
//! is there.

use crate::{config::Config, objects::Place, storage::snapshot};
use anyhow::{Context, Result, bail};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// What of a data folder cannot be made again.
const KEPT: [&str; 2] = ["secret.key", "internal.secret"];

pub(super) async fn run(config: Config, to: &Path) -> Result<()> {
    if !config.database_url.starts_with("sqlite:") {
        bail!("the database is PostgreSQL's: back it up with pg_dump, or by its write-ahead log");
    }
    let Place::Folder(objects) = config.storage()? else {
        bail!("files are in a bucket: back it up with its provider's means");
    };
    if to.exists() && fs::read_dir(to).is_ok_and(|mut found| found.next().is_some()) {
        bail!("{} is there already, and not empty", to.display());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .with_context(|| to.display().to_string())?;
    let mut files = copy_new(&objects, &to.join("objects"))?;
    let database = to.join("aiybiz.db");
    snapshot::sqlite(&config.database_url, &database).await.context("database")?;
    files += copy_new(&objects, &to.join("objects"))?;
    for name in KEPT {
        let from = config.data_dir.join(name);
        if from.exists() {
            // With its rights: nobody else reads it.
            fs::copy(&from, to.join(name)).with_context(|| from.display().to_string())?;
        }
    }
    fs::File::open(&database)?.sync_all()?;
    fs::File::open(to)?.sync_all()?;
    println!("the database, {files} objects and the keys are in {}", to.display());
    if config.secret_key.is_some() {
        println!("the secret key was given by you and is not among them: keep it with them");
    }
    Ok(())
}

/// Copies what is not there yet; says how many files that were.
fn copy_new(from: &Path, to: &Path) -> Result<u64> {
    let mut copied = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(to.join(&folder))?;
        let found = match fs::read_dir(from.join(&folder)) {
            Ok(found) => found,
            // Gone meanwhile, or never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| from.display().to_string()),
        };
        for entry in found {
            let entry = entry?;
            let name = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(name);
            } else if !same_size(&from.join(&name), &to.join(&name)) {
                match fs::copy(from.join(&name), to.join(&name)) {
                    Ok(_) => fs::File::open(to.join(&name))?.sync_all()?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error).with_context(|| name.display().to_string()),
                }
                copied += 1;
            }
        }
    }
    Ok(copied)
}

/// One that grows is copied again; bytes beyond what the database knows are no harm.
fn same_size(one: &Path, other: &Path) -> bool {
    let size = |path: &Path| fs::metadata(path).map(|found| found.len()).ok();
    size(other).is_some_and(|size_of_other| size(one) == Some(size_of_other))
}
