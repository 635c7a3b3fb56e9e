//! Whose upload is judged next: a queue with an end, fair between builders.
//!
//! An upload takes a place before its first byte is read and keeps it until it is
//! ready or refused, so what waits is bounded, for one builder and in all. Turns go
//! round the builders, not the uploads: a hundred of one builder's delay another's
//! by one. A component that a session waits for (its artifact is gone) goes first,
//! but never twice in a row.

use crate::{
    error::{Error, Kind, Result},
    id::BuilderId,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Judged at once: the compiler takes a core and up to `compileMemoryBytes`.
const AT_ONCE: usize = 1;

/// Places of one builder; an honest upload is judged in a second or two.
const OF_A_BUILDER: usize = 20;

/// Places of all builders. What waits is on the disk, so with `componentBytes` this
/// bounds what uploads take there: 6 GiB by default.
const IN_ALL: usize = 200;

/// When a builder who found no place may try again, in seconds.
const AGAIN: u32 = 10;

#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    places: HashMap<BuilderId, usize>,
    taken: usize,
    judging: usize,
    /// Sessions' components.
    own: VecDeque<oneshot::Sender<Turn>>,
    own_was_last: bool,
    /// Every builder who waits, once, the next one first.
    builders: VecDeque<(BuilderId, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to upload one component; given back when dropped.
pub struct Place {
    uploads: Uploads,
    builder: BuilderId,
}

/// The right to have one upload judged now; passed on when dropped.
pub struct Turn(Option<Uploads>);

impl Uploads {
    /// Takes a place, or says that there is none.
    pub(super) fn enter(&self, builder: BuilderId) -> Result<Place> {
        let mut queue = self.lock();
        let of_his = queue.places.get(&builder).copied().unwrap_or(0);
        if of_his >= OF_A_BUILDER {
            let detail = format!("{of_his} of your uploads are not judged yet, which is the most");
            return Err(Error::new(Kind::TooMany(AGAIN), "too_many_uploads", detail));
        }
        if queue.taken >= IN_ALL {
            let detail = "too many uploads are waiting; try again soon";
            return Err(Error::new(Kind::TooMany(AGAIN), "upload_queue_full", detail));
        }
        queue.taken += 1;
        queue.places.insert(builder, of_his + 1);
        drop(queue);
        Ok(Place { uploads: self.clone(), builder })
    }

    /// Waits for a turn; `builder` is none for a component that a session waits for.
    pub(super) async fn turn(&self, builder: Option<BuilderId>) -> Turn {
        let (sender, receiver) = oneshot::channel();
        {
            let mut queue = self.lock();
            if queue.judging < AT_ONCE {
                queue.judging += 1;
                return Turn(Some(self.clone()));
            }
            queue.wait(builder, sender);
        }
        receiver.await.expect("a turn is passed on until somebody takes it")
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wait(&mut self, builder: Option<BuilderId>, sender: oneshot::Sender<Turn>) {
        let Some(builder) = builder else { return self.own.push_back(sender) };
        match self.builders.iter_mut().find(|(other, _)| *other == builder) {
            Some((_, his)) => his.push_back(sender),
            None => self.builders.push_back((builder, VecDeque::from([sender]))),
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let yields = self.own_was_last && !self.builders.is_empty();
        let own = if yields { None } else { self.own.pop_front() };
        self.own_was_last = own.is_some();
        own.or_else(|| {
            let (builder, mut his) = self.builders.pop_front()?;
            let next = his.pop_front();
            if !his.is_empty() {
                self.builders.push_back((builder, his));
            }
            next
        })
    }
}

impl Place {
    pub async fn turn(&self) -> Turn {
        self.uploads.turn(Some(self.builder)).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.uploads.lock();
        queue.taken -= 1;
        if let Some(left) = queue.places.get_mut(&self.builder) {
            *left -= 1;
            if *left == 0 {
                queue.places.remove(&self.builder);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(uploads) = self.0.take() else { return };
        loop {
            let mut queue = uploads.lock();
            let Some(next) = queue.next() else {
                queue.judging -= 1;
                return;
            };
            drop(queue);
            match next.send(Self(Some(uploads.clone()))) {
                Ok(()) => return,
                // Whoever waited has gone.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }
}
