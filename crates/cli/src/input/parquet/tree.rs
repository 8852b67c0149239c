//! What a column of a Parquet file is made of: a value, or a group of columns, a list or a map,
//! and what is in those.
//!
//! Law: the rules for lists and maps are those of the format's LogicalTypes.md, with the older
//! writers' ways that it keeps readable ("backward-compatibility rules").

use std::fmt::Write as _;
use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::meaning::Meaning;

/// A part of a column: its levels say whether it is there.
///
/// Leaves are counted from the column's first, in the order in which the file has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// One value.
    Value(ValueNode),
    /// Columns with names.
    Struct(Group, Vec<(String, Node)>),
    /// Any number of the same.
    List(Group, i16, Box<Node>),
    /// Values by their keys.
    Map(Group, i16, ValueNode, Box<Node>),
}

/// Where a value is, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueNode {
    pub(super) leaf: usize,
    pub(super) meaning: Meaning,
    /// The definition level of a value that is there; one less where it is null.
    pub(super) definition: i16,
    pub(super) is_optional: bool,
}

/// What groups have in common. A list and a map have their repetition level beside it: that of
/// each entry but the first; an entry's definition level is one above the group's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The lowest definition level with which it is there; one less where it is null.
    pub(super) definition: i16,
    pub(super) is_optional: bool,
    pub(super) leaves: Range<usize>,
}

impl Node {
    /// What the column at the top of the schema with this index is, and which leaf is its first.
    /// Why it can't be read, if it can't.
    pub(super) fn of_column(
        schema: &SchemaDescriptor,
        root: usize,
    ) -> Result<(usize, Node), String> {
        let of_root = |leaf: &usize| schema.get_column_root_idx(*leaf) == root;
        let first = (0..schema.num_columns()).find(of_root).ok_or(WITHOUT_COLUMNS)?;
        let mut walk = Walk { schema, first, leaf: 0 };
        let node = walk.node(&schema.root_schema().get_fields()[root], Levels::default())?;
        Ok((first, node))
    }

    /// The value, if it is nothing else.
    pub(super) fn as_value(&self) -> Option<&ValueNode> {
        match self {
            Node::Value(value) => Some(value),
            _ => None,
        }
    }

    /// How many leaves it has.
    pub(super) fn leaf_count(&self) -> usize {
        match self {
            Node::Value(_) => 1,
            Node::Struct(group, _) | Node::List(group, ..) | Node::Map(group, ..) => {
                group.leaves.len()
            }
        }
    }

    /// Whether it may be null.
    pub(super) fn is_optional(&self) -> bool {
        match self {
            Node::Value(value) => value.is_optional,
            Node::Struct(group, _) | Node::List(group, ..) | Node::Map(group, ..) => {
                group.is_optional
            }
        }
    }

    /// The types of its values in JSON.
    pub(super) fn json_types(&self) -> &'static [&'static str] {
        match self {
            Node::Value(value) => value.meaning.json_types(),
            Node::Struct(..) | Node::Map(..) => &["object"],
            Node::List(..) => &["array"],
        }
    }

    /// Its type for people: `list<struct<id: integer, name: string>>`.
    pub(super) fn type_name(&self) -> String {
        let mut name = String::new();
        self.write_type(&mut name, &|meaning| meaning.name().to_owned());
        name
    }

    /// All that decides how values are written.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        self.write_type(&mut shape, &|meaning| meaning.to_string());
        shape
    }

    fn write_type(&self, out: &mut String, of_value: &dyn Fn(Meaning) -> String) {
        match self {
            Node::Value(value) => out.push_str(&of_value(value.meaning)),
            Node::Struct(_, fields) => {
                for (place, (name, node)) in fields.iter().enumerate() {
                    let before = if place == 0 { "struct<" } else { ", " };
                    let _ = write!(out, "{before}{name}: ");
                    node.write_type(out, of_value);
                }
                out.push('>');
            }
            Node::List(_, _, element) => {
                out.push_str("list<");
                element.write_type(out, of_value);
                out.push('>');
            }
            Node::Map(_, _, key, value) => {
                let _ = write!(out, "map<{}, ", of_value(key.meaning));
                value.write_type(out, of_value);
                out.push('>');
            }
        }
    }

    /// The values in it with their names: `items[].price`, below a column of this name.
    pub(super) fn values<'a>(&'a self, name: String, found: &mut Vec<(String, &'a ValueNode)>) {
        match self {
            Node::Value(value) => found.push((name, value)),
            Node::Struct(_, fields) => {
                for (field, node) in fields {
                    node.values(format!("{name}.{field}"), found);
                }
            }
            Node::List(_, _, element) => element.values(format!("{name}[]"), found),
            Node::Map(_, _, key, value) => {
                found.push((format!("{name}'s keys"), key));
                value.values(format!("{name}[]"), found);
            }
        }
    }
}

const WITHOUT_COLUMNS: &str = "a group without columns";

/// The levels at which what is around a part of the schema is there.
#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    definition: i16,
    repetition: i16,
}

impl Levels {
    fn optional(self) -> Levels {
        Levels { definition: self.definition + 1, ..self }
    }

    fn repeated(self) -> Levels {
        Levels { definition: self.definition + 1, repetition: self.repetition + 1 }
    }
}

/// A walk through the schema. It is `layout::SCHEMA_DEPTH_MAX` deep at most, so levels don't
/// overflow, nor does the stack.
struct Walk<'a> {
    schema: &'a SchemaDescriptor,
    first: usize,
    /// The next leaf.
    leaf: usize,
}

impl Walk<'_> {
    fn node(&mut self, of: &Type, around: Levels) -> Result<Node, String> {
        match repetition(of)? {
            Repetition::REQUIRED => self.single(of, around, false),
            Repetition::OPTIONAL => self.single(of, around.optional(), true),
            // Outside of a list, "a required list of required elements".
            Repetition::REPEATED => {
                let first = self.leaf;
                let element = self.single(of, around.repeated(), false)?;
                Ok(self.list(first, around, false, element))
            }
        }
    }

    /// One of what may be repeated.
    fn single(&mut self, of: &Type, here: Levels, is_optional: bool) -> Result<Node, String> {
        if of.is_primitive() {
            return Ok(Node::Value(self.value(here, is_optional)?));
        }
        match of.get_basic_info().logical_type_ref() {
            Some(LogicalType::Variant(_)) => return Err("a variant".to_owned()),
            _ if is_list(of) => return self.annotated_list(of, here, is_optional),
            _ if is_map(of) => return self.annotated_map(of, here, is_optional),
            _ => {}
        }
        let first = self.leaf;
        let mut fields: Vec<(String, Node)> = Vec::with_capacity(of.get_fields().len());
        for field in of.get_fields() {
            if fields.iter().any(|(name, _)| name == field.name()) {
                return Err(format!("a group with two columns named {:?}", field.name()));
            }
            fields.push((field.name().to_owned(), self.node(field, here)?));
        }
        if fields.is_empty() {
            return Err(WITHOUT_COLUMNS.to_owned());
        }
        Ok(Node::Struct(self.group(first, here, is_optional), fields))
    }

    fn annotated_list(
        &mut self,
        of: &Type,
        here: Levels,
        is_optional: bool,
    ) -> Result<Node, String> {
        let [repeated] = of.get_fields() else {
            return Err("a list that has more than its elements".to_owned());
        };
        if repetition(repeated)? != Repetition::REPEATED {
            return Err("a list whose elements aren't repeated".to_owned());
        }
        let first = self.leaf;
        let element = match element_within(of, repeated) {
            None => self.single(repeated, here.repeated(), false)?,
            Some(element) => self.node(element, here.repeated())?,
        };
        Ok(self.list(first, here, is_optional, element))
    }

    /// A map; one without values is the list of its keys, one whose keys are groups the list of its
    /// entries, as JSON has no such keys.
    fn annotated_map(
        &mut self,
        of: &Type,
        here: Levels,
        is_optional: bool,
    ) -> Result<Node, String> {
        let entry = match of.get_fields() {
            [entry] if repetition(entry)? == Repetition::REPEATED && !entry.is_primitive() => entry,
            _ => return Err("a map without repeated entries".to_owned()),
        };
        let (first, inside) = (self.leaf, here.repeated());
        match entry.get_fields() {
            [key] => {
                let key = self.node(key, inside)?;
                Ok(self.list(first, here, is_optional, key))
            }
            [key, value] => {
                let (key, value) = (self.node(key, inside)?, self.node(value, inside)?);
                let group = self.group(first, here, is_optional);
                match key {
                    Node::Value(key) => {
                        Ok(Node::Map(group, inside.repetition, key, Box::new(value)))
                    }
                    key => {
                        let fields = vec![("key".to_owned(), key), ("value".to_owned(), value)];
                        let entry = Node::Struct(self.group(first, inside, false), fields);
                        Ok(self.list(first, here, is_optional, entry))
                    }
                }
            }
            _ => Err("a map whose entries aren't a key and a value".to_owned()),
        }
    }

    fn list(&self, first: usize, here: Levels, is_optional: bool, element: Node) -> Node {
        let group = self.group(first, here, is_optional);
        Node::List(group, here.repeated().repetition, Box::new(element))
    }

    fn group(&self, first: usize, here: Levels, is_optional: bool) -> Group {
        Group { definition: here.definition, is_optional, leaves: first..self.leaf }
    }

    fn value(&mut self, here: Levels, is_optional: bool) -> Result<ValueNode, String> {
        let leaf = self.leaf;
        self.leaf += 1;
        let meaning = Meaning::of(&self.schema.column(self.first + leaf))?;
        Ok(ValueNode { leaf, meaning, definition: here.definition, is_optional })
    }
}

fn repetition(of: &Type) -> Result<Repetition, String> {
    let basic = of.get_basic_info();
    match basic.has_repetition() {
        true => Ok(basic.repetition()),
        false => Err("a group that doesn't say whether it is repeated".to_owned()),
    }
}

fn is_list(of: &Type) -> bool {
    let basic = of.get_basic_info();
    matches!(basic.logical_type_ref(), Some(LogicalType::List))
        || basic.converted_type() == ConvertedType::LIST
}

fn is_map(of: &Type) -> bool {
    let basic = of.get_basic_info();
    matches!(basic.logical_type_ref(), Some(LogicalType::Map))
        || matches!(basic.converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE)
}

/// The element inside of a list's repeated group; None where that group, or column, is itself the
/// element, as older writers made them.
fn element_within<'a>(list: &Type, repeated: &'a Type) -> Option<&'a Type> {
    if repeated.is_primitive() || is_list(repeated) || is_map(repeated) {
        return None;
    }
    let [element] = repeated.get_fields() else { return None };
    let name = repeated.name();
    let is_element = element.get_basic_info().has_repetition()
        && element.get_basic_info().repetition() == Repetition::REPEATED;
    let is_element =
        is_element || name == "array" || name.strip_suffix("_tuple") == Some(list.name());
    (!is_element).then_some(&**element)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::schema::parser::parse_message_type;
    use rstest::rstest;

    use super::*;

    fn column(text: &str) -> Result<Node, String> {
        let message = parse_message_type(&format!("message m {{ {text} }}")).unwrap();
        let schema = SchemaDescriptor::new(Arc::new(message));
        Node::of_column(&schema, 0).map(|(first, node)| {
            assert_eq!(first, 0);
            node
        })
    }

    /// The examples of LogicalTypes.md, and what they are.
    #[rstest]
    #[case(
        "required group l (LIST) { repeated group list { optional binary element (UTF8); } }",
        "list<string>"
    )]
    #[case(
        "optional group l (LIST) { repeated group element { required binary str (UTF8); } }",
        "list<string>"
    )]
    #[case("optional group l (LIST) { repeated int32 element; }", "list<integer>")]
    #[case(
        "optional group l (LIST) { repeated group element { required binary str (UTF8); \
            required int32 num; } }",
        "list<struct<str: string, num: integer>>"
    )]
    #[case(
        "optional group l (LIST) { repeated group array { required binary str (UTF8); } }",
        "list<struct<str: string>>"
    )]
    #[case(
        "optional group l (LIST) { repeated group l_tuple { required binary str (UTF8); } }",
        "list<struct<str: string>>"
    )]
    #[case(
        "optional group l (LIST) { repeated group element (LIST) { repeated int32 element; } }",
        "list<list<integer>>"
    )]
    #[case(
        "optional group l (LIST) { repeated group element { repeated int32 x; } }",
        "list<struct<x: list<integer>>>"
    )]
    #[case(
        "optional group l (LIST) { repeated group list { optional group element (MAP) { \
            repeated group key_value { required int32 key; optional boolean value; } } } }",
        "list<map<integer, boolean>>"
    )]
    #[case("repeated double x;", "list<number>")]
    #[case("repeated group g { required int32 x; }", "list<struct<x: integer>>")]
    #[case(
        "required group m (MAP) { repeated group key_value { required binary key (UTF8); \
            optional int32 value; } }",
        "map<string, integer>"
    )]
    #[case(
        "optional group m (MAP) { repeated group map { required binary str (UTF8); \
            required int32 num; } }",
        "map<string, integer>"
    )]
    #[case(
        "optional group m (MAP_KEY_VALUE) { repeated group map { required binary key (UTF8); \
            optional int32 value; } }",
        "map<string, integer>"
    )]
    #[case(
        "required group m (MAP) { repeated group key_value { required int32 key; } }",
        "list<integer>"
    )]
    #[case(
        "required group m (MAP) { repeated group key_value { required group key { \
            required int32 a; } optional int32 value; } }",
        "list<struct<key: struct<a: integer>, value: integer>>"
    )]
    #[case(
        "optional group g { optional group h { required int32 x; } optional binary raw; }",
        "struct<h: struct<x: integer>, raw: binary>"
    )]
    fn lists_and_maps_are_told_as_the_formats_rules_say(#[case] text: &str, #[case] name: &str) {
        assert_eq!(column(text).unwrap().type_name(), name);
    }

    #[rstest]
    #[case("required group l (LIST) { optional int32 x; }", "aren't repeated")]
    #[case("required group l (LIST) { repeated int32 x; repeated int32 y; }", "more than its")]
    #[case("required group m (MAP) { repeated int32 x; }", "without repeated entries")]
    #[case(
        "required group m (MAP) { repeated group e { required int32 a; required int32 b; \
            required int32 c; } }",
        "aren't a key and a value"
    )]
    #[case("required group g { required int32 x; required int32 x; }", "two columns named \"x\"")]
    fn what_breaks_the_rules_is_refused(#[case] text: &str, #[case] why: &str) {
        let told = column(text).unwrap_err();
        assert!(told.contains(why), "{told}");
    }

    #[test]
    fn levels_and_leaves_are_counted_as_the_decoder_counts_them() {
        let node = column(
            "optional group a (LIST) { repeated group list { optional group element { \
             required int32 x; optional group m (MAP) { repeated group key_value { \
             required binary key (UTF8); optional double value; } } } } }",
        )
        .unwrap();
        let mut values = vec![];
        node.values("a".to_owned(), &mut values);
        let levels: Vec<_> = (values.iter())
            .map(|(name, value)| (name.as_str(), value.leaf, value.definition))
            .collect();
        assert_eq!(levels, [("a[].x", 0, 3), ("a[].m's keys", 1, 5), ("a[].m[]", 2, 6)]);
        let Node::List(group, 1, element) = &node else { panic!("{node:?}") };
        assert_eq!((group.definition, group.is_optional, &group.leaves), (1, true, &(0..3)));
        let Node::Struct(group, fields) = &**element else { panic!("{element:?}") };
        assert_eq!((group.definition, &group.leaves), (3, &(0..3)));
        let Node::Map(group, 2, ..) = &fields[1].1 else { panic!("{fields:?}") };
        assert_eq!((group.definition, &group.leaves), (4, &(1..3)));
    }
}
