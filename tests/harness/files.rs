//! A client's library, filled and shared behind the API's back, which does not
//! have these calls yet.

use super::{Person, Platform, people::Id};
use aiybiz_host::{
    files::{self, NewFile, NewNode},
    id::{CompanyId, NodeId, SessionId},
    objects::Place,
    work::library,
};
use futures::TryStreamExt;
use std::path::PathBuf;

impl Platform {
    /// Puts a file into someone's library.
    pub async fn file(
        &self,
        of: &Person,
        parent: Option<NodeId>,
        name: &str,
        bytes: impl Into<bytes::Bytes>,
    ) -> NodeId {
        let (company, id) = (company(of).await, self.host.clock.id());
        let (bytes, storage_path) = (bytes.into(), files::storage_path(company, id));
        let file = NewFile {
            storage_path: storage_path.clone(),
            mime_type: Some("text/plain".into()),
            size: bytes.len() as u64,
        };
        self.host.objects.put(&storage_path, bytes).await.expect("the bytes are stored");
        self.node(NewNode { id, company, parent, name, tag: None, file: Some(file) }).await
    }

    pub async fn folder(&self, of: &Person, parent: Option<NodeId>, name: &str) -> NodeId {
        let (company, id) = (company(of).await, self.host.clock.id());
        self.node(NewNode { id, company, parent, name, tag: None, file: None }).await
    }

    /// The folder that a session's agent may write into.
    pub async fn agent_folder(&self, of: &Person, session: &str) -> NodeId {
        let (company, session) = (company(of).await, session.parse().expect("an id"));
        let name = format!("Agent folder {session}");
        let mut tx = self.host.db.write().await.expect("a transaction");
        let made = files::agent_folder(&mut tx, &self.host.clock, company, session, &name).await;
        tx.commit().await.expect("it is kept");
        made.expect("a folder").id
    }

    pub async fn share(&self, session: &str, node: NodeId) {
        let session: SessionId = session.parse().expect("an id");
        let mut tx = self.host.db.write().await.expect("a transaction");
        files::grant(&mut tx, &self.host.clock, session, node).await.expect("it is granted");
        tx.commit().await.expect("it is kept");
    }

    async fn node(&self, new: NewNode<'_>) -> NodeId {
        let mut tx = self.host.db.write().await.expect("a transaction");
        let made = files::insert(&mut tx, &self.host.clock, new).await.expect("a node");
        tx.commit().await.expect("it is kept");
        made.id
    }

    /// How many objects a company has in the store, unfinished ones included, once what is
    /// due has gone. Library, counts and store agree.
    pub async fn objects_of(&self, of: &Person) -> usize {
        self.objects_in(&company(of).await.to_string()).await
    }

    pub async fn objects_in(&self, company: &str) -> usize {
        library::tidy(&self.host).await.expect("it tidies up");
        let wrong = library::check(&self.host.db, &self.host.objects).await.expect("it looks");
        assert_eq!(wrong, [""; 0]);
        let company = format!("{company}/");
        let keys: Vec<_> = self.host.objects.keys().try_collect().await.expect("it lists");
        keys.iter().filter(|key| key.starts_with(&company)).count()
    }

    /// The files in which a company's objects are kept.
    pub async fn objects_under(&self, of: &Person) -> Vec<PathBuf> {
        let Place::Folder(folder) = self.host.config.storage().expect("a place") else {
            panic!("no folder")
        };
        let found = std::fs::read_dir(folder.join(company(of).await.to_string()));
        found.expect("a folder").map(|file| file.expect("a file").path()).collect()
    }
}

async fn company(of: &Person) -> CompanyId {
    let me = of.get("/me").await.ok();
    me["company"].id().parse().expect("an id")
}
