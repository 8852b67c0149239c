//! A faked directory: what was written, what is safe, and what a power cut makes of the rest.
//!
//! 1. Content is safe once its file was flushed; a name, once the directory was.
//! 2. A power cut keeps any of the changes of names that were not flushed and loses any other, in
//!    their order; of content that was not flushed it keeps any beginning, and perhaps garbage.

use std::collections::BTreeMap;

use streamledger_broker_core::log::FileStep;

use crate::disk::CrashKind;
use crate::random::Dice;

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    safe_bytes: usize,
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(String, usize),
    Renamed(String, String),
    Removed(String),
}

/// The files of one partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was flushed last.
    changes: Vec<NameChange>,
}

impl Directory {
    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn read(&self, name: &str) -> Option<&[u8]> {
        self.names.get(name).map(|content| self.contents[*content].bytes.as_slice())
    }

    /// What a reader has that opened the file: it stays, whatever becomes of the name.
    pub(super) fn create(&mut self, name: &str) {
        self.contents.push(Content::default());
        let content = self.contents.len() - 1;
        self.names.insert(name.to_owned(), content);
        self.changes.push(NameChange::Made(name.to_owned(), content));
    }

    pub(super) fn write(&mut self, name: &str, position: usize, bytes: &[u8]) {
        let Some(content) = self.names.get(name) else { return };
        let content = &mut self.contents[*content];
        content.bytes.resize(content.bytes.len().max(position), 0);
        content.bytes.truncate(position);
        content.bytes.extend_from_slice(bytes);
        content.safe_bytes = content.safe_bytes.min(position);
    }

    pub(super) fn truncate(&mut self, name: &str, bytes: usize) {
        let Some(content) = self.names.get(name) else { return };
        let content = &mut self.contents[*content];
        content.bytes.truncate(bytes);
        content.safe_bytes = content.safe_bytes.min(bytes);
    }

    pub(super) fn perform(&mut self, step: &FileStep) {
        match step {
            FileStep::Sync(name) => {
                if let Some(content) = self.names.get(name) {
                    let content = &mut self.contents[*content];
                    content.safe_bytes = content.bytes.len();
                }
            }
            FileStep::Rename { from, to } => {
                self.change(NameChange::Renamed(from.clone(), to.clone()));
            }
            FileStep::Remove(name) => self.change(NameChange::Removed(name.clone())),
            FileStep::SyncDirectory => {
                self.safe_names = self.names.clone();
                self.changes.clear();
            }
        }
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// Loses what a crash of that kind takes.
    pub(super) fn crash(&mut self, kind: CrashKind, dice: &mut Dice) {
        if kind == CrashKind::PowerCut {
            self.names = std::mem::take(&mut self.safe_names);
            for change in std::mem::take(&mut self.changes) {
                if dice.chance(600) {
                    apply(&mut self.names, &change);
                }
            }
            for content in &mut self.contents {
                let unsafe_bytes = content.bytes.len() - content.safe_bytes;
                let written = content.bytes.len();
                let kept = content.safe_bytes + dice.place(unsafe_bytes + 1);
                content.bytes.truncate(kept);
                if dice.chance(200) {
                    content.bytes.resize(kept + dice.place(written - kept + 1), 0);
                }
                content.safe_bytes = content.bytes.len();
            }
        }
        // What the next start finds it finds for good: it is in the page cache or on the disk.
        self.safe_names = self.names.clone();
        self.changes.clear();
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Made(name, content) => {
            names.insert(name.clone(), *content);
        }
        NameChange::Renamed(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
        NameChange::Removed(name) => {
            names.remove(name);
        }
    }
}
