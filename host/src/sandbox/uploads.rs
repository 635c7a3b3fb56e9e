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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use uuid::Uuid;

    fn builder(n: u128) -> BuilderId {
        BuilderId(Uuid::from_u128(n))
    }

    #[test]
    fn turns_go_round_the_builders() {
        let uploads = Uploads::default();
        let turn = |who: Option<u128>| {
            let uploads = uploads.clone();
            async move { (who, uploads.turn(who.map(builder)).await) }.boxed()
        };
        let first = turn(None).now_or_never().expect("nobody else is there");
        // Three of one builder, then two of another, then three for sessions.
        let who = [1, 1, 1, 2, 2, 0, 0, 0].map(|n| (n > 0).then_some(n));
        let mut waiting: Vec<_> = who.into_iter().map(turn).collect();
        let mut heard = Vec::new();
        let mut held = Some(first.1);
        while !waiting.is_empty() {
            waiting = waiting
                .into_iter()
                .filter_map(|mut one| match (&mut one).now_or_never() {
                    Some((who, turn)) => {
                        heard.push(who.unwrap_or(0));
                        held = Some(turn);
                        None
                    }
                    None => Some(one),
                })
                .collect();
            drop(held.take());
        }
        assert_eq!(heard, [0, 1, 0, 2, 0, 1, 2, 1]);
        assert_eq!(uploads.lock().judging, 0);
    }

    #[test]
    fn a_turn_is_not_lost_on_one_who_has_gone() {
        let uploads = Uploads::default();
        let held = uploads.turn(None).now_or_never().expect("nobody else is there");
        let mut gone = [1, 2, 3].map(|n| uploads.turn(Some(builder(n))).boxed());
        let mut waits = uploads.turn(Some(builder(4))).boxed();
        for one in &mut gone {
            assert!(one.now_or_never().is_none());
        }
        assert!((&mut waits).now_or_never().is_none());
        let [early, late, last] = gone;
        drop(early);
        // The second is given the turn, and goes without looking.
        drop(held);
        drop((late, last));
        assert!(waits.now_or_never().is_some());
        assert_eq!(uploads.lock().judging, 0);
    }

    #[test]
    fn places_are_bounded_for_one_and_in_all() {
        let uploads = Uploads::default();
        let mut places = Vec::new();
        for n in 0..(IN_ALL / OF_A_BUILDER) as u128 {
            places.extend((0..OF_A_BUILDER).map(|_| uploads.enter(builder(n)).expect("a place")));
            let full = uploads.enter(builder(n)).map(drop).expect_err("twenty is all");
            assert_eq!((full.kind, full.code), (Kind::TooMany(AGAIN), "too_many_uploads"));
        }
        let full = uploads.enter(builder(99)).map(drop).expect_err("two hundred are all");
        assert_eq!((full.kind, full.code), (Kind::TooMany(AGAIN), "upload_queue_full"));
        places.pop();
        drop(uploads.enter(builder(99)).expect("one is free"));
        drop(places);
        let queue = uploads.lock();
        assert_eq!((queue.taken, queue.places.len()), (0, 0));
    }
}
