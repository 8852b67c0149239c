//! As much of Thrift's compact protocol as it takes to look at a file's sizes before they are
//! believed: the decoder allocates by what a page's header says, and goes as deep as a schema does.

/// Structures within structures, at most.
const DEPTH_MAX: u32 = 64;

/// The sizes that a page's header begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSizes {
    /// Bytes when it is unpacked.
    pub(super) unpacked: i64,
}

/// The sizes in a page's header; None if it isn't one.
pub(super) fn page_sizes(header: &[u8]) -> Option<PageSizes> {
    let mut input = Input(header);
    // Fields 1 and 2: the page's type, its bytes unpacked.
    if input.field()? != Field::numbered(1, Kind::I32) {
        return None;
    }
    input.integer()?;
    if input.field()? != Field::numbered(1, Kind::I32) {
        return None;
    }
    Some(PageSizes { unpacked: input.integer()? })
}

/// How deep a footer's schema is nested; None if it can't be read.
pub(super) fn schema_depth(footer: &[u8]) -> Option<usize> {
    let mut input = Input(footer);
    let mut number = 0;
    loop {
        let Field { step, kind } = input.field()?;
        number += step?;
        match (number, kind) {
            (2, Kind::List) => return depth_of(&mut input),
            (_, Kind::Stop) => return None,
            (_, kind) => input.skip(kind, 0)?,
        }
    }
}

/// The depth of a list of schema elements, each of which is followed by its children.
fn depth_of(input: &mut Input<'_>) -> Option<usize> {
    let (count, kind) = input.list()?;
    if kind != Kind::Struct {
        return None;
    }
    // Of each element that is open: how many of its children are still to come.
    let mut open: Vec<i64> = Vec::new();
    let mut deepest = 0;
    for _ in 0..count {
        let children = children(input)?;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        while open.last().is_some_and(|left| *left <= 0) {
            open.pop();
        }
    }
    Some(deepest)
}

/// How many children a schema element says it has.
fn children(input: &mut Input<'_>) -> Option<i64> {
    let (mut number, mut children) = (0, 0);
    loop {
        let Field { step, kind } = input.field()?;
        if kind == Kind::Stop {
            return Some(children);
        }
        number += step?;
        match (number, kind) {
            (5, Kind::I32) => children = input.integer()?,
            (_, kind) => input.skip(kind, 0)?,
        }
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stop,
    True,
    False,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Set,
    Map,
    Struct,
}

impl Kind {
    fn of(bits: u8) -> Option<Kind> {
        Some(match bits {
            0 => Kind::Stop,
            1 => Kind::True,
            2 => Kind::False,
            3 => Kind::Byte,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 => Kind::List,
            10 => Kind::Set,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => return None,
        })
    }
}

/// What begins a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    /// How much larger its number is than that of the field before it. None for one that writers
    /// of Parquet have no use for: a number written out.
    step: Option<i64>,
    kind: Kind,
}

impl Field {
    fn numbered(step: i64, kind: Kind) -> Field {
        Field { step: Some(step), kind }
    }
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A signed integer: zigzag.
    fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn field(&mut self) -> Option<Field> {
        let byte = self.byte()?;
        let kind = Kind::of(byte & 0x0f)?;
        if kind == Kind::Stop {
            return Some(Field { step: None, kind });
        }
        let step = i64::from(byte >> 4);
        if step == 0 {
            self.integer()?;
        }
        Some(Field { step: (step > 0).then_some(step), kind })
    }

    fn list(&mut self) -> Option<(u64, Kind)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.varint()?,
            few => u64::from(few),
        };
        Some((count, Kind::of(byte & 0x0f)?))
    }

    fn advance(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn skip(&mut self, kind: Kind, depth: u32) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match kind {
            Kind::Stop => return None,
            // In a field; in a list each takes a byte.
            Kind::True | Kind::False => {}
            Kind::Byte => self.advance(1)?,
            Kind::I16 | Kind::I32 | Kind::I64 => drop(self.varint()?),
            Kind::Double => self.advance(8)?,
            Kind::Binary => {
                let bytes = self.varint()?;
                self.advance(bytes)?;
            }
            Kind::List | Kind::Set => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    self.skip_element(kind, depth)?;
                }
            }
            Kind::Map => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                for _ in 0..count {
                    self.skip_element(Kind::of(kinds >> 4)?, depth)?;
                    self.skip_element(Kind::of(kinds & 0x0f)?, depth)?;
                }
            }
            Kind::Struct => loop {
                let Field { kind, .. } = self.field()?;
                if kind == Kind::Stop {
                    break;
                }
                self.skip(kind, depth + 1)?;
            },
        }
        Some(())
    }

    fn skip_element(&mut self, kind: Kind, depth: u32) -> Option<()> {
        match kind {
            Kind::True | Kind::False => self.advance(1),
            kind => self.skip(kind, depth + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pages_sizes_are_read_and_what_isnt_a_header_is_none() {
        // Type 0; 300 bytes unpacked (zigzag 600); 17 as it is.
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 0xd8, 4, 0x15, 34]).unwrap().unpacked, 300);
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 1]).unwrap().unpacked, -1);
        for wrong in [&[][..], &[0x15], &[0x25, 0, 0x15, 1], &[0x15, 0, 0x18, 1], &[0xff; 40]] {
            assert_eq!(page_sizes(wrong), None);
        }
    }

    /// A footer whose schema has elements with so many children.
    fn footer(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x15, 4, 0x19, 0xfc, children.len() as u8];
        for count in children {
            // Field 4 (a name of one byte), field 5 (how many children), the end.
            bytes.extend([0x48, 1, b'x', 0x15, count << 1, 0]);
        }
        bytes
    }

    #[test]
    fn a_schemas_depth_is_that_of_its_deepest_group() {
        assert_eq!(schema_depth(&footer(&[2, 0, 0])), Some(1));
        assert_eq!(schema_depth(&footer(&[2, 1, 1, 0, 0])), Some(3));
        assert_eq!(schema_depth(&footer(&[1; 100])), Some(100));
        assert_eq!(schema_depth(&footer(&[1; 100])[..200]), None);
        assert_eq!(schema_depth(b""), None);
        assert_eq!(schema_depth(&[0x1b; 400]), None);
    }
}
