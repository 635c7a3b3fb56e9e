//! How many event streams a company has open at this process.

use crate::id::CompanyId;
use dashmap::DashMap;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams {
    open: Arc<DashMap<CompanyId, u32>>,
    all: Arc<AtomicU32>,
}

/// One of them, until it is dropped.
pub struct Stream {
    streams: Streams,
    company: CompanyId,
}

impl Streams {
    /// None when the company has `most` open.
    pub fn open(&self, company: CompanyId, most: u32) -> Option<Stream> {
        let mut open = self.open.entry(company).or_insert(0);
        if *open >= most {
            return None;
        }
        *open += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
        Some(Stream { streams: self.clone(), company })
    }

    pub fn count(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut open) = self.streams.open.get_mut(&self.company) {
            *open -= 1;
        }
        self.streams.open.remove_if(&self.company, |_, open| *open == 0);
    }
}
