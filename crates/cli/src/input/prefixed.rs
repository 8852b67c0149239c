//! Records whose values have their schema's id in front.

use super::ReadFault;
use super::adapted::Adapter;
use super::source::SourceRecord;
use crate::render::Rendered;

/// Puts each value behind a prefix.
#[derive(Debug)]
pub struct Prefixed {
    prefix: Vec<u8>,
    value: Vec<u8>,
}

impl Prefixed {
    /// Each value behind this.
    pub fn new(prefix: Vec<u8>) -> Prefixed {
        Prefixed { prefix, value: Vec::new() }
    }
}

impl Adapter for Prefixed {
    fn adapt<'a>(
        &'a mut self,
        record: SourceRecord<'a>,
    ) -> Result<SourceRecord<'a>, Box<ReadFault>> {
        let SourceRecord { rendered, line } = record;
        let Self { prefix, value } = self;
        value.clear();
        value.extend_from_slice(prefix);
        value.extend_from_slice(rendered.value);
        Ok(SourceRecord { rendered: Rendered { value, ..rendered }, line })
    }
}
