//! The records of a source, each as something makes of it; where they are in the file stays.

use std::fmt;

use super::ReadFault;
use super::position::{Place, Position, ResumeFault};
use super::source::{RecordSource, SourceRecord};

/// What is made of each record, or why its row is bad.
pub trait Adapter: fmt::Debug {
    /// The record as it goes on.
    fn adapt<'a>(
        &'a mut self,
        record: SourceRecord<'a>,
    ) -> Result<SourceRecord<'a>, Box<ReadFault>>;
}

/// The records of another source, adapted.
#[derive(Debug)]
pub struct Adapted<A> {
    source: Box<dyn RecordSource>,
    adapter: A,
}

impl<A: Adapter> Adapted<A> {
    /// The records of a source as the adapter makes them.
    pub fn new(source: Box<dyn RecordSource>, adapter: A) -> Adapted<A> {
        Adapted { source, adapter }
    }
}

impl<A: Adapter> RecordSource for Adapted<A> {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        match self.source.next_record()? {
            Some(record) => self.adapter.adapt(record).map(Some),
            None => Ok(None),
        }
    }

    fn place(&self) -> Place {
        self.source.place()
    }

    fn position(&mut self) -> Option<Position> {
        self.source.position()
    }

    fn skip_to(&mut self, place: Place) -> Result<(), ResumeFault> {
        self.source.skip_to(place)
    }

    fn resume(&mut self, position: &Position) -> Result<(), ResumeFault> {
        self.source.resume(position)
    }

    fn read_bytes(&self) -> u64 {
        self.source.read_bytes()
    }

    fn last_row(&self) -> Option<&[u8]> {
        self.source.last_row()
    }
}
