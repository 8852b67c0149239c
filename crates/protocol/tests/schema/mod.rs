//! Kafka's own layouts of all messages, from `schemas/kafka-4.3.txt`, and random bytes to them.
//!
//! A line is `KEY NAME DIRECTION FIRST-LAST flexible|rigid TYPE`, where a type is a primitive's
//! name, `[TYPE]` or `{FIELD,..}`, with `?` before it where it can be null, and a field is
//! `NAME:TYPE` or `#TAG:NAME:TYPE`.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::ops::RangeInclusive;

use streamledger_protocol::ApiVersion;
use streamledger_protocol::wire::Writer;

/// The layout of one API's requests or responses in some versions.
pub(crate) struct Layout {
    pub(crate) api_key: i16,
    pub(crate) api: String,
    pub(crate) direction: Direction,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) flexible: bool,
    body: Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Request,
    Response,
}

struct Type {
    nullable: bool,
    kind: Kind,
}

enum Kind {
    Primitive(String),
    Array(Box<Type>),
    Struct(Vec<Field>),
}

struct Field {
    tag: Option<u32>,
    ty: Type,
}

/// Every layout there is.
pub(crate) fn layouts() -> Vec<Layout> {
    include_str!("../schemas/kafka-4.3.txt").lines().map(layout).collect()
}

fn layout(line: &str) -> Layout {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let (first, last) = words[3].split_once('-').unwrap();
    let mut rest = words[5];
    let body = parse_type(&mut rest);
    assert_eq!(rest, "", "{line}");
    Layout {
        api_key: words[0].parse().unwrap(),
        api: words[1].to_owned(),
        direction: match words[2] {
            "request" => Direction::Request,
            _ => Direction::Response,
        },
        versions: first.parse().unwrap()..=last.parse().unwrap(),
        flexible: words[4] == "flexible",
        body,
    }
}

fn take(rest: &mut &str, token: char) -> bool {
    match rest.strip_prefix(token) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

fn word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

fn parse_type(rest: &mut &str) -> Type {
    let nullable = take(rest, '?');
    let kind = if take(rest, '[') {
        let element = parse_type(rest);
        assert!(take(rest, ']'));
        Kind::Array(Box::new(element))
    } else if take(rest, '{') {
        let mut fields = Vec::new();
        while !take(rest, '}') {
            let tag = take(rest, '#').then(|| word(rest).parse().unwrap());
            assert!(tag.is_none() || take(rest, ':'));
            word(rest);
            assert!(take(rest, ':'));
            fields.push(Field { tag, ty: parse_type(rest) });
            take(rest, ',');
        }
        Kind::Struct(fields)
    } else {
        Kind::Primitive(word(rest).to_owned())
    };
    Type { nullable, kind }
}

/// All UUIDs that are written have these bytes, so that their text can be told from others.
pub(crate) const UUID: [u8; 16] = [0xA5; 16];

/// Small, seeded and good enough to choose values with (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A number of up to 63 bits, small ones often, bounds sometimes.
    fn number(&mut self, bits: u32) -> i64 {
        let max = i64::MAX >> (64 - bits);
        match self.below(8) {
            0 => [0, -1, 1, max, -max - 1][self.below(5)],
            1 | 2 => (self.next() & 0xff).cast_signed(),
            _ => (self.next().cast_signed() >> (64 - bits)).clamp(-max - 1, max),
        }
    }

    fn text(&mut self, empty: bool) -> String {
        let length = match self.below(20) {
            0 => 130 + self.below(200),
            _ => usize::from(!empty) + self.below(8),
        };
        (0..length).map(|_| ['a', 'b', 'm', 'z', 'é', 'ß', '語'][self.below(7)]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.one_in(10) { 1020 + self.below(10) } else { self.below(12) };
        (0..length).map(|_| b"acegikm"[self.below(7)]).collect()
    }
}

impl Layout {
    /// The body of one random message that is valid in all of `versions`.
    ///
    /// It is as an encoder would write it: a tagged field is there only with a value that is not
    /// its default.
    pub(crate) fn random_body(&self, random: &mut Random) -> Vec<u8> {
        let mut body = Body { w: Writer::new(), flexible: self.flexible, random, depth: 0 };
        body.put(&self.body, false);
        body.w.finish().into_bytes().to_vec()
    }

    pub(crate) fn each_version(&self) -> impl Iterator<Item = ApiVersion> + use<> {
        self.versions.clone().map(ApiVersion)
    }
}

struct Body<'a> {
    w: Writer,
    flexible: bool,
    random: &'a mut Random,
    depth: usize,
}

impl Body<'_> {
    /// Writes a random value; `set` asks for one that is no field's default.
    fn put(&mut self, ty: &Type, set: bool) {
        if ty.nullable && !set && self.random.one_in(4) {
            return self.put_null(&ty.kind);
        }
        match &ty.kind {
            Kind::Primitive(name) => self.put_primitive(name, set),
            Kind::Array(element) => {
                let count =
                    usize::from(set) + self.random.below(4_usize.saturating_sub(self.depth));
                self.put_len(count);
                self.depth += 1;
                for _ in 0..count {
                    self.put(element, set);
                }
                self.depth -= 1;
            }
            Kind::Struct(fields) => {
                if ty.nullable {
                    self.w.put_null_marker(true);
                }
                self.put_struct(fields, set);
            }
        }
    }

    fn put_null(&mut self, kind: &Kind) {
        match kind {
            Kind::Struct(_) => self.w.put_null_marker(false),
            _ if self.flexible => self.w.put_compact_null_len(),
            Kind::Primitive(name) if name == "string" => self.w.put_null_string(),
            Kind::Primitive(_) | Kind::Array(_) => self.w.put_null_len(),
        }
    }

    fn put_len(&mut self, length: usize) {
        if self.flexible {
            self.w.put_compact_len(length).unwrap();
        } else {
            self.w.put_len(length).unwrap();
        }
    }

    fn put_struct(&mut self, fields: &[Field], set: bool) {
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            self.put(&field.ty, set);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in fields {
            if let Some(tag) = field.tag
                && self.random.one_in(2)
            {
                let outer = std::mem::take(&mut self.w);
                self.put(&field.ty, true);
                let inner = std::mem::replace(&mut self.w, outer);
                tagged.push((tag, inner.finish().into_bytes().to_vec()));
            }
        }
        tagged.sort();
        self.w.put_unsigned_varint(tagged.len() as u32);
        for (tag, value) in tagged {
            self.w.put_unsigned_varint(tag);
            self.w.put_unsigned_varint(value.len() as u32);
            self.w.put_slice(&value);
        }
    }

    fn put_primitive(&mut self, name: &str, set: bool) {
        // No field's default is among 1000..1127.
        let some = 1000 + self.random.below(127) as i64;
        let number = |random: &mut Random, bits| if set { some } else { random.number(bits) };
        match name {
            "boolean" => self.w.put_bool(set || self.random.one_in(2)),
            "int8" => {
                let value = self.random.number(8) as i8;
                self.w.put_i8(if set { 99 } else { value });
            }
            // Outside of the error codes that have names.
            "int16" => {
                let value = some * [1, -1][self.random.below(2)];
                self.w.put_i16(value as i16);
            }
            "uint16" => {
                let value = self.random.next() as u16;
                self.w.put_u16(value);
            }
            "int32" => {
                let value = number(self.random, 32);
                self.w.put_i32(value as i32);
            }
            "int64" => {
                let value = number(self.random, 64);
                self.w.put_i64(value);
            }
            "float64" => {
                let value = self.random.number(32) as f64 / 8.0;
                self.w.put_f64(value);
            }
            "uuid" => self.w.put_slice(&UUID),
            "string" => {
                let text = self.random.text(!set);
                if self.flexible {
                    self.w.put_compact_string(&text).unwrap();
                } else {
                    self.w.put_string(&text).unwrap();
                }
            }
            "bytes" | "records" => {
                let bytes = self.random.bytes();
                self.put_len(bytes.len());
                self.w.put_slice(&bytes);
            }
            other => panic!("{other} is no primitive"),
        }
    }
}
