//! Java's `.properties` syntax: what a client's configuration file is written in.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, Origin};
use super::resolve::is_secret_name;
use super::{is_known_secret, providers};
use zeroize::Zeroizing;

/// The largest properties file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Settings by name, as texts, each with the place it was written. A later value replaces a former.
///
/// ```
/// use streamledger::Properties;
/// let properties = Properties::parse("linger.ms = 20\nacks: all")?.with("acks", "1");
/// assert_eq!(properties.get("linger.ms"), Some("20"));
/// assert_eq!(properties.get("acks"), Some("1"));
/// # Ok::<(), streamledger::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct Properties {
    entries: Vec<Property>,
}

/// One setting as it was written.
#[derive(Clone)]
pub(crate) struct Property {
    pub(crate) name: String,
    /// Overwritten when it is dropped, as it may be a secret.
    pub(crate) value: Zeroizing<String>,
    pub(crate) origin: Origin,
}

impl Properties {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file in Java's `.properties` syntax: UTF-8, or ISO-8859-1 where it isn't.
    ///
    /// # Errors
    /// The file can't be read, has more than 4 MiB, or breaks the syntax (with the line).
    pub fn parse_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let bytes = read_capped(path, FILE_BYTES_MAX)
            .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|not_utf8| not_utf8.into_bytes().into_iter().map(char::from).collect());
        Self::parse_lines(&text, Some(&Arc::new(path.to_owned())))
    }

    /// Reads a text in Java's `.properties` syntax (`java.util.Properties.load`): comments with `#`
    /// or `!`, a name and a value parted by `=`, `:` or blanks, `\t \n \r \f \\ \uXXXX` and other
    /// escapes, and a `\` at the end of a line that goes on in the next.
    ///
    /// # Errors
    /// A `\u` without four hexadecimal digits, or a value without a name; with the line.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_lines(text, None)
    }

    /// Adds a setting, as from the command line (`-X name=value`).
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.push(name.into(), value.into(), Origin::Flag);
        self
    }

    /// Adds an assignment, as from the command line: `linger.ms=20`. A secret may not come that
    /// way, as every process of the machine can read it there; a reference to one may
    /// (`${env:NAME}`, see `config.providers`).
    ///
    /// # Errors
    /// There is no `=`, or no name in front of it, or it is a secret.
    pub fn with_assignment(self, assignment: &str) -> Result<Self, ConfigError> {
        match assignment.split_once('=') {
            Some((name, value))
                if is_known_secret(name.trim())
                    && !value.trim().is_empty()
                    && !providers::is_reference(value) =>
            {
                Err(ConfigError::SecretOnCommandLine { name: name.trim().to_owned() })
            }
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(self.with(name.trim(), value.trim()))
            }
            _ => Err(ConfigError::Syntax {
                origin: Origin::Flag,
                reason: format!("{assignment:?} is not name=value"),
            }),
        }
    }

    /// The same with what its values refer to in their place (`${file:PATH:KEY}` and the like, see
    /// `config.providers`). Clients do this by themselves; it is for other uses of such a file.
    ///
    /// # Errors
    /// A provider isn't known, or what it is asked for can't be read.
    pub fn resolved(&self) -> Result<Self, ConfigError> {
        providers::resolve(self)
    }

    /// Adds all settings of another; where both have one, the other's counts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// The value of a setting, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().rev().find(|entry| entry.name == name).map(|entry| entry.value.as_str())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and values in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.value.as_str()))
    }

    pub(crate) fn push(&mut self, name: String, value: String, origin: Origin) {
        self.entries.push(Property { name, value: Zeroizing::new(value), origin });
    }

    pub(crate) fn entries(&self) -> &[Property] {
        &self.entries
    }

    fn parse_lines(text: &str, path: Option<&Arc<PathBuf>>) -> Result<Self, ConfigError> {
        let mut properties = Self::default();
        for (line, logical) in LogicalLines::new(text) {
            let origin = match path {
                Some(path) => Origin::File { path: Arc::clone(path), line },
                None => Origin::Text { line },
            };
            let (name, value) = split_name_and_value(&logical);
            let syntax = |reason| ConfigError::Syntax { origin: origin.clone(), reason };
            let name = unescape(name).map_err(syntax)?;
            let value = unescape(value).map_err(syntax)?;
            if name.is_empty() {
                return Err(syntax(format!("a value {value:?} without a name in front of it")));
            }
            // Kafka trims what it parses; a text with blanks at its end is never meant.
            properties.push(name, value.trim_end().to_owned(), origin);
        }
        Ok(properties)
    }
}

impl fmt::Debug for Properties {
    /// Shows `***` for passwords, and for what may be one by its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.entries.iter().map(|entry| {
            let secret = is_secret_name(&entry.name);
            (&entry.name, if secret { "***" } else { entry.value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

/// Reads a file of up to so many bytes.
pub(crate) fn read_capped(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    let read_bytes = read.map_err(|error| error.to_string())? as u64;
    if read_bytes > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes; is it the right file?"));
    }
    Ok(bytes)
}

/// Lines with their continuations joined; blank lines and comments are left out.
struct LogicalLines<'a> {
    lines: std::iter::Enumerate<NaturalLines<'a>>,
}

impl<'a> LogicalLines<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { lines: NaturalLines { rest: Some(text) }.enumerate() }
    }
}

impl Iterator for LogicalLines<'_> {
    /// The number of the first line, counted from 1, and the text.
    type Item = (usize, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (index, line) = self.lines.next()?;
            let line = line.trim_start_matches(BLANKS);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let mut joined = line.to_owned();
            while ends_in_continuation(&joined) {
                joined.pop();
                let Some((_, next)) = self.lines.next() else { break };
                joined.push_str(next.trim_start_matches(BLANKS));
            }
            return Some((index + 1, joined));
        }
    }
}

const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// Lines that end in `\n`, `\r` or `\r\n`.
struct NaturalLines<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for NaturalLines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let Some(end) = rest.find(['\n', '\r']) else {
            self.rest = None;
            return Some(rest);
        };
        let after = &rest[end..];
        self.rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&rest[..end])
    }
}

/// An odd number of backslashes at the end: the last one escapes the line's end.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split_name_and_value(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|&(_, c)| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let value = line[end..].trim_start_matches(BLANKS);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(BLANKS))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    // Java's \u carries UTF-16: two of them may be one character.
    let mut high_surrogate: Option<u16> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let escape = if c == '\\' { rest.chars().next() } else { None };
        if let Some(escape) = escape {
            rest = &rest[escape.len_utf8()..];
        }
        if escape == Some('u') {
            let unit = utf16_unit(rest)?;
            rest = &rest[4..];
            match (high_surrogate.take(), unit) {
                (None, 0xd800..=0xdbff) => high_surrogate = Some(unit),
                (high, _) => {
                    let units = high.into_iter().chain([unit]);
                    plain.extend(
                        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)),
                    );
                }
            }
            continue;
        }
        if high_surrogate.take().is_some() {
            plain.push(char::REPLACEMENT_CHARACTER);
        }
        match escape {
            None if c == '\\' => {}
            None => plain.push(c),
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some(other) => plain.push(other),
        }
    }
    if high_surrogate.is_some() {
        plain.push(char::REPLACEMENT_CHARACTER);
    }
    Ok(plain)
}

fn utf16_unit(text: &str) -> Result<u16, String> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    digits
        .and_then(|digits| u16::from_str_radix(digits, 16).ok())
        .ok_or_else(|| "a \\u without four hexadecimal digits after it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let properties = Properties::parse(text).unwrap();
        properties.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    // Expected values are what java.util.Properties.load gives, save for blanks at a value's end.
    #[rstest]
    #[case::equals("a=b", "a", "b")]
    #[case::colon("a:b", "a", "b")]
    #[case::blank("a b", "a", "b")]
    #[case::blanks_around("  a \t = \t b", "a", "b")]
    #[case::second_separator_is_value("a==b", "a", "=b")]
    #[case::colon_in_value("bootstrap.servers=h:9092,i:9093", "bootstrap.servers", "h:9092,i:9093")]
    #[case::no_value("a", "a", "")]
    #[case::empty_value("a=", "a", "")]
    #[case::escaped_separator(r"a\=b=c", "a=b", "c")]
    #[case::escaped_blank(r"a\ b=c", "a b", "c")]
    #[case::escapes(r"a=\t\n\r\f\\x\q", "a", "\t\n\r\u{c}\\xq")]
    #[case::unicode(r"a=\u00e9\u20AC", "a", "é€")]
    #[case::unicode_pair(r"a=\ud83d\ude00", "a", "😀")]
    #[case::continued("a=b,\\\n    c", "a", "b,c")]
    #[case::continued_crlf("a=b,\\\r\n\tc", "a", "b,c")]
    #[case::comment_mark_in_value("a=b # c", "a", "b # c")]
    #[case::escaped_backslash_ends_line("a=b\\\\\n# c", "a", "b\\")]
    #[case::continued_at_the_end("a=b\\", "a", "b")]
    #[case::byte_order_mark("\u{feff}a=b", "a", "b")]
    fn a_line_reads_as_java_reads_it(#[case] text: &str, #[case] name: &str, #[case] value: &str) {
        assert_eq!(pairs(text), [(name.to_owned(), value.to_owned())]);
    }

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        assert_eq!(pairs("# x=1\n\n  ! y=2\r\n \t \nz=3\n"), [("z".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn errors_name_the_line_where_the_value_starts() {
        let error = Properties::parse("a=1\n# c\nb=\\\n\\u12").unwrap_err();
        assert_eq!(error.to_string(), "line 3: a \\u without four hexadecimal digits after it");
        let error = Properties::parse("\n=1").unwrap_err();
        assert_eq!(error.to_string(), r#"line 2: a value "1" without a name in front of it"#);
    }

    #[test]
    fn a_file_that_is_not_there_or_not_utf8() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.properties");
        let error = Properties::parse_file(&missing).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        let latin = directory.path().join("latin.properties");
        std::fs::write(&latin, b"client.id=caf\xe9").unwrap();
        assert_eq!(Properties::parse_file(&latin).unwrap().get("client.id"), Some("café"));
        assert!(Properties::parse_file(directory.path()).is_err());
    }

    #[test]
    fn a_later_value_counts() {
        let file = Properties::parse("acks=1\nacks=0").unwrap();
        assert_eq!(file.get("acks"), Some("0"));
        let flags = Properties::new().with_assignment("acks = all").unwrap();
        assert_eq!(file.and(flags).get("acks"), Some("all"));
        assert!(Properties::new().with_assignment("acks").is_err());
        assert!(Properties::new().with_assignment("=all").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = "ssl.key.password=hunter2\nmy.password=hunter2\nacks=1";
        let shown = format!("{:?}", Properties::parse(text).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("acks"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\PC|[\\\\\r\n\t =:#!u0-9a-f]){0,80}") {
            let _ = Properties::parse(&text);
        }
    }
}
