//! Records whose values have their schema's id in front.

use super::ReadFault;
use super::position::{Place, Position, ResumeFault};
use super::source::{RecordSource, SourceRecord};
use crate::render::Rendered;

/// The records of another source, each value behind a prefix.
#[derive(Debug)]
pub struct Prefixed {
    source: Box<dyn RecordSource>,
    prefix: Vec<u8>,
    value: Vec<u8>,
}

impl Prefixed {
    /// The records of a source, each value behind this.
    pub fn new(source: Box<dyn RecordSource>, prefix: Vec<u8>) -> Prefixed {
        Prefixed { source, prefix, value: Vec::new() }
    }
}

impl RecordSource for Prefixed {
    fn next_record(&mut self) -> Result<Option<SourceRecord<'_>>, Box<ReadFault>> {
        let Self { source, prefix, value } = self;
        let Some(SourceRecord { rendered, line }) = source.next_record()? else { return Ok(None) };
        value.clear();
        value.extend_from_slice(prefix);
        value.extend_from_slice(rendered.value);
        Ok(Some(SourceRecord { rendered: Rendered { value, ..rendered }, line }))
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
