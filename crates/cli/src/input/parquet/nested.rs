//! A nested column's rows as JSON, put together from the levels and values of its leaves.
//!
//! Laws: of each leaf there are `BATCH_ROWS` rows or `BATCH_LEVELS` values in memory, or one row
//! that has more; levels that contradict the schema, or each other, are damage and end the reading;
//! a row is made into JSON once, whatever it is used for.

use std::ops::Range;
use std::sync::Arc;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::bytes::{Pages, decode};
use super::column::Column;
use super::field::Damage;
use super::tree::{Group, Node, ValueNode};
use crate::input::RowFault;

/// Rows of a leaf that are read at once.
const BATCH_ROWS: usize = 1024;

/// Values after which no further row is read along.
const BATCH_LEVELS: usize = 4096;

/// A column that is a group, a list or a map.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) name: String,
    node: Node,
    leaves: Vec<Leaf>,
    /// Where in each leaf the row is that is being put together.
    cursors: Vec<Cursor>,
    row_bytes_max: usize,
    /// The row at hand, or what is wrong with it.
    json: Vec<u8>,
    fault: Option<RowFault>,
}

impl Nested {
    pub(super) fn new(name: String, node: Node, row_bytes_max: usize) -> Nested {
        let mut values = Vec::new();
        node.values(name.clone(), &mut values);
        let leaves = values.into_iter().map(|(name, value)| Leaf::new(name, value)).collect();
        let cursors = Vec::new();
        Nested { name, node, leaves, cursors, row_bytes_max, json: Vec::new(), fault: None }
    }

    /// Begins with its part of a row group, in which `first` is its first leaf.
    pub(super) fn open(
        &mut self,
        pages: &Arc<Pages>,
        group: &RowGroupMetaData,
        first: usize,
        rows: usize,
    ) -> std::result::Result<(), Damage> {
        for (leaf, chunk) in self.leaves.iter_mut().zip(&group.columns()[first..]) {
            decode(|| leaf.open(pages, chunk, rows))
                .map_err(|error| Damage::of(&leaf.column.name, &error))?;
        }
        Ok(())
    }

    /// Passes over rows.
    pub(super) fn pass_over(&mut self, rows: usize) -> std::result::Result<(), Damage> {
        for leaf in &mut self.leaves {
            for _ in 0..rows {
                leaf.advance().map_err(|error| Damage::of(&leaf.column.name, &error))?;
            }
        }
        Ok(())
    }

    /// Goes to the next row, and makes its JSON.
    pub(super) fn advance(&mut self) -> std::result::Result<(), Damage> {
        self.pass_over(1)?;
        self.cursors.clear();
        self.cursors.extend(self.leaves.iter().map(Leaf::cursor));
        self.json.clear();
        let mut assembly = Assembly {
            leaves: &self.leaves,
            cursors: &mut self.cursors,
            bytes_max: self.row_bytes_max,
            out: &mut self.json,
        };
        self.fault = match assembly.row(&self.node) {
            Ok(()) => None,
            Err(Wrong::Row(fault)) => Some(fault),
            Err(Wrong::Levels(leaf)) => {
                let name = self.leaves.get(leaf).map_or(&self.name, |leaf| &leaf.column.name);
                return Err(Damage::new(name, "its levels aren't those of a row"));
            }
        };
        Ok(())
    }

    /// The row as JSON.
    pub(super) fn json(&self) -> std::result::Result<&[u8], RowFault> {
        self.fault.clone().map_or(Ok(self.json.as_slice()), Err)
    }

    pub(super) fn is_null(&self) -> bool {
        self.json == b"null"
    }
}

/// The values of one place in the schema, some rows of them at a time.
#[derive(Debug)]
struct Leaf {
    column: Column,
    max_definition: i16,
    max_repetition: i16,
    repetitions: Vec<i16>,
    /// Of each row that was read where its levels end.
    ends: Vec<usize>,
    /// How many of them were gone to.
    row: usize,
    /// Values of the rows before the one at hand.
    values_behind: usize,
}

/// A place in the levels of a row and in the values.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    at: usize,
    end: usize,
    value: usize,
}

impl Leaf {
    fn new(name: String, value: &ValueNode) -> Leaf {
        Leaf {
            column: Column::new(name, value.meaning),
            max_definition: value.definition,
            max_repetition: 0,
            repetitions: Vec::new(),
            ends: Vec::new(),
            row: 0,
            values_behind: 0,
        }
    }

    fn open(&mut self, pages: &Arc<Pages>, chunk: &ColumnChunkMetaData, rows: usize) -> Result<()> {
        self.column.open(pages, chunk, rows)?;
        self.max_repetition = chunk.column_descr().max_rep_level();
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.column.clear();
        self.repetitions.clear();
        self.ends.clear();
        (self.row, self.values_behind) = (0, 0);
    }

    /// The levels of the row at hand.
    fn levels(&self) -> Range<usize> {
        let end = |rows: usize| rows.checked_sub(1).map_or(0, |row| self.ends[row]);
        end(self.row.saturating_sub(1))..end(self.row)
    }

    /// Goes to the next row.
    fn advance(&mut self) -> Result<()> {
        if self.row == self.ends.len() {
            decode(|| self.fill())?;
        } else {
            let left = self.levels();
            let is_value = |level: &&i16| **level == self.max_definition;
            self.values_behind += match self.max_definition {
                0 => left.len(),
                _ => self.column.levels[left].iter().filter(is_value).count(),
            };
        }
        self.row += 1;
        Ok(())
    }

    /// Reads the next rows.
    fn fill(&mut self) -> Result<()> {
        self.forget();
        if self.max_repetition == 0 {
            let (rows, _) = self.column.read_more(BATCH_ROWS, None)?;
            self.ends.extend(1..=rows);
        }
        let mut levels = 0;
        while self.max_repetition > 0 && self.ends.len() < BATCH_ROWS && levels < BATCH_LEVELS {
            // Row by row: nobody knows before how many values one has.
            let (rows, more) = self.column.read_more(1, Some(&mut self.repetitions))?;
            if rows == 0 {
                break;
            }
            levels += more;
            self.ends.push(levels);
        }
        let wrong = |what: &str| Err(ParquetError::General(what.to_owned()));
        let count = self.ends.last().copied().unwrap_or(0);
        let too_high = |levels: &[i16], highest: i16| levels.iter().any(|level| *level > highest);
        if count == 0 {
            return wrong("it ends before the last row");
        }
        if too_high(&self.column.levels, self.max_definition)
            || too_high(&self.repetitions, self.max_repetition)
        {
            return wrong("it has levels that its schema doesn't have");
        }
        let has_all = |levels: &[i16], highest: i16| highest == 0 || levels.len() == count;
        match has_all(&self.column.levels, self.max_definition)
            && has_all(&self.repetitions, self.max_repetition)
        {
            true => Ok(()),
            false => wrong("it has fewer levels than values"),
        }
    }

    fn cursor(&self) -> Cursor {
        let Range { start, end } = self.levels();
        Cursor { at: start, end, value: self.values_behind }
    }

    /// The definition level at a cursor; None at the row's end.
    fn definition(&self, cursor: &Cursor) -> Option<i16> {
        let level = || self.column.levels.get(cursor.at).copied().unwrap_or(0);
        (cursor.at < cursor.end).then(level)
    }

    /// The repetition level at a cursor: 0, as that of the next row, at the row's end.
    fn repetition(&self, cursor: &Cursor) -> i16 {
        match cursor.at < cursor.end {
            true => self.repetitions.get(cursor.at).copied().unwrap_or(0),
            false => 0,
        }
    }
}

/// Why a row isn't put together.
enum Wrong {
    /// The row holds what it shouldn't.
    Row(RowFault),
    /// The levels of this leaf make no sense.
    Levels(usize),
}

impl From<RowFault> for Wrong {
    fn from(fault: RowFault) -> Wrong {
        Wrong::Row(fault)
    }
}

type Assembled = std::result::Result<(), Wrong>;

/// A row that is put together.
struct Assembly<'a> {
    leaves: &'a [Leaf],
    cursors: &'a mut [Cursor],
    bytes_max: usize,
    out: &'a mut Vec<u8>,
}

impl Assembly<'_> {
    fn row(&mut self, node: &Node) -> Assembled {
        for (index, (leaf, cursor)) in self.leaves.iter().zip(&*self.cursors).enumerate() {
            if leaf.repetition(cursor) != 0 {
                return Err(Wrong::Levels(index));
            }
        }
        self.node(node)?;
        match self.cursors.iter().position(|cursor| cursor.at != cursor.end) {
            Some(leaf) => Err(Wrong::Levels(leaf)),
            None => Ok(()),
        }
    }

    fn node(&mut self, node: &Node) -> Assembled {
        if self.out.len() > self.bytes_max {
            return Err(RowFault::TooLong { limit: self.bytes_max, open_quote: false }.into());
        }
        match node {
            Node::Value(value) => self.value(value),
            Node::Struct(group, fields) => {
                if self.is_absent(group)? {
                    return Ok(());
                }
                for (place, (name, field)) in fields.iter().enumerate() {
                    self.out.push(if place == 0 { b'{' } else { b',' });
                    // Into memory nothing fails.
                    let _ = serde_json::to_writer(&mut *self.out, name);
                    self.out.push(b':');
                    self.node(field)?;
                }
                self.out.push(b'}');
                Ok(())
            }
            Node::List(group, repetition, element) => {
                self.entries(group, *repetition, b"[]", |assembly| assembly.node(element))
            }
            Node::Map(group, repetition, key, value) => {
                self.entries(group, *repetition, b"{}", |assembly| {
                    assembly.key(key)?;
                    assembly.out.push(b':');
                    assembly.node(value)
                })
            }
        }
    }

    fn value(&mut self, node: &ValueNode) -> Assembled {
        let leaf = &self.leaves[node.leaf];
        let cursor = &mut self.cursors[node.leaf];
        let level = leaf.definition(cursor).ok_or(Wrong::Levels(node.leaf))?;
        cursor.at += 1;
        if level == node.definition {
            let value = leaf.column.value_at(cursor.value).ok_or(Wrong::Levels(node.leaf))?;
            cursor.value += 1;
            return Ok(leaf.column.write_json_value(&value, self.out)?);
        }
        if !node.is_optional || level != node.definition - 1 {
            return Err(Wrong::Levels(node.leaf));
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    /// Writes the key of a map's entry: a string in any case.
    fn key(&mut self, node: &ValueNode) -> Assembled {
        let leaf = &self.leaves[node.leaf];
        let start = self.out.len();
        self.value(node)?;
        if self.out[start..] == *b"null" {
            // An optional key, which the format's rules don't have; text would be in quotes.
            return Err(RowFault::value(&leaf.column.name, b"null", "a map's key").into());
        }
        if self.out[start..].first() != Some(&b'"') {
            self.out.insert(start, b'"');
            self.out.push(b'"');
        }
        Ok(())
    }

    /// Writes null if a group isn't there.
    fn is_absent(&mut self, group: &Group) -> std::result::Result<bool, Wrong> {
        let level = self.level(group)?;
        if level >= group.definition {
            return Ok(false);
        }
        if !group.is_optional || level != group.definition - 1 {
            return Err(Wrong::Levels(group.leaves.start));
        }
        self.pass(group, level)?;
        self.out.extend_from_slice(b"null");
        Ok(true)
    }

    fn entries(
        &mut self,
        group: &Group,
        repetition: i16,
        brackets: &[u8; 2],
        mut entry: impl FnMut(&mut Self) -> Assembled,
    ) -> Assembled {
        if self.is_absent(group)? {
            return Ok(());
        }
        let [open, close] = *brackets;
        self.out.push(open);
        if self.level(group)? == group.definition {
            self.pass(group, group.definition)?;
        } else {
            entry(self)?;
            while self.goes_on(group, repetition)? {
                self.out.push(b',');
                entry(self)?;
            }
        }
        self.out.push(close);
        Ok(())
    }

    /// The definition level that the leaves of a group have in common.
    fn level(&self, group: &Group) -> std::result::Result<i16, Wrong> {
        let first = group.leaves.start;
        self.leaves[first].definition(&self.cursors[first]).ok_or(Wrong::Levels(first))
    }

    /// Leaves behind what all leaves of a group have where it, or all in it, isn't there.
    fn pass(&mut self, group: &Group, level: i16) -> Assembled {
        for index in group.leaves.clone() {
            let cursor = &mut self.cursors[index];
            if self.leaves[index].definition(cursor) != Some(level) {
                return Err(Wrong::Levels(index));
            }
            cursor.at += 1;
        }
        Ok(())
    }

    /// Whether another entry follows, on which all leaves of a group must agree.
    fn goes_on(&self, group: &Group, repetition: i16) -> std::result::Result<bool, Wrong> {
        let at = |index: usize| self.leaves[index].repetition(&self.cursors[index]);
        let more = at(group.leaves.start) == repetition;
        let agrees = |index: usize| match more {
            true => at(index) == repetition,
            false => at(index) < repetition,
        };
        match group.leaves.clone().find(|index| !agrees(*index)) {
            Some(index) => Err(Wrong::Levels(index)),
            None => Ok(more),
        }
    }
}
