//! File names with stars in them, as shells have them, for those that no shell expanded.
//!
//! `*` is any text, `?` a character, `[a-z]` one of a set and `[!a-z]` none of it; none of them
//! stands for a slash, or for the dot that a hidden name begins with. `**` between slashes is any
//! number of directories. A backslash takes its meaning from the character after it.

use std::path::{Component, Path, PathBuf};

/// A pattern of a whole path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The directory before the first part with a star in it; empty for the current one.
    pub base: PathBuf,
    /// What comes below it.
    pub parts: Vec<Part>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// `**`: any number of directories, also none.
    AnyDirectories,
    /// A name.
    Name(NamePattern),
}

/// A pattern of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Character(char),
    AnyCharacter,
    AnyText,
    Set { ranges: Vec<(char, char)>, is_negated: bool },
}

impl Pattern {
    /// The pattern that a path is; None if it has nothing of one.
    pub fn of(path: &Path) -> Option<Pattern> {
        let has_star =
            |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let mut components = path.components().peekable();
        let mut base = PathBuf::new();
        while let Some(part) = components.next_if(|part| !has_star(part)) {
            base.push(part);
        }
        components.peek()?;
        let mut parts: Vec<Part> = components
            .map(|part| match part.as_os_str().to_string_lossy().as_ref() {
                "**" => Part::AnyDirectories,
                name => Part::Name(NamePattern::new(name)),
            })
            .collect();
        if parts.last() == Some(&Part::AnyDirectories) {
            parts.push(Part::Name(NamePattern(vec![Token::AnyText])));
        }
        Some(Pattern { base, parts })
    }
}

impl NamePattern {
    fn new(text: &str) -> NamePattern {
        let mut tokens = Vec::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let token = match character {
                '*' => Token::AnyText,
                '?' => Token::AnyCharacter,
                '[' => match set(rest.as_str()) {
                    Some((set, after)) => {
                        rest = after.chars();
                        set
                    }
                    None => Token::Character('['),
                },
                '\\' => Token::Character(rest.next().unwrap_or('\\')),
                other => Token::Character(other),
            };
            if token != Token::AnyText || tokens.last() != Some(&Token::AnyText) {
                tokens.push(token);
            }
        }
        NamePattern(tokens)
    }

    /// Whether a name is one of those meant. Hidden ones are if the pattern begins with a dot.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && self.0.first() != Some(&Token::Character('.')) {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where the last star is, and how far it reaches: it may have to reach further.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(token) {
                Some(Token::AnyText) => {
                    star = Some((token, at));
                    token += 1;
                    continue;
                }
                Some(other) if other.matches(name[at]) => {
                    (token, at) = (token + 1, at + 1);
                    continue;
                }
                _ => {}
            }
            let Some((star_token, reached)) = star else { return false };
            star = Some((star_token, reached + 1));
            (token, at) = (star_token + 1, reached + 1);
        }
        self.0[token..].iter().all(|token| *token == Token::AnyText)
    }
}

impl Token {
    fn matches(&self, character: char) -> bool {
        match self {
            Token::Character(only) => *only == character,
            Token::AnyCharacter => true,
            Token::AnyText => false,
            Token::Set { ranges, is_negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)) != *is_negated
            }
        }
    }
}

/// The set that a text begins with, behind its bracket, and what follows it. None if it isn't
/// closed.
fn set(text: &str) -> Option<(Token, &str)> {
    let (is_negated, inner) = match text.strip_prefix(['!', '^']) {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    // A bracket that comes first is one of the set.
    let close = inner.char_indices().skip(1).find(|(_, character)| *character == ']')?.0;
    let characters: Vec<char> = inner[..close].chars().collect();
    let mut ranges = Vec::new();
    let mut rest = characters.as_slice();
    while let [from, after @ ..] = rest {
        match after {
            ['-', to, after @ ..] => {
                ranges.push((*from, *to));
                rest = after;
            }
            _ => {
                ranges.push((*from, *from));
                rest = after;
            }
        }
    }
    Some((Token::Set { ranges, is_negated }, &inner[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NamePattern::new(pattern).matches(name)
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*.csv", "a.csv", "a.csv.gz"),
            ("*.csv", "ä b.csv", ".a.csv"),
            (".*", ".a", "a"),
            ("day?.csv", "day1.csv", "day10.csv"),
            ("[0-9a]*", "7x", "b7"),
            ("[!0-9]*", "x7", "7x"),
            ("[^0-9]", "x", "7"),
            ("[]x]", "]", "y"),
            ("[a-]", "-", "b"),
            ("a[", "a[", "a"),
            ("a\\*b", "a*b", "axb"),
            ("*a*b*", "xaxxb", "xbxa"),
            ("**x", "aax", "aaxy"),
            ("", "", "a"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn the_directory_before_the_first_star_is_told_apart() {
        let pattern = Pattern::of(Path::new("logs/2026/*/a?.csv")).unwrap();
        assert_eq!((pattern.base.as_path(), pattern.parts.len()), (Path::new("logs/2026"), 2));
        assert_eq!(Pattern::of(Path::new("*.csv")).unwrap().base, PathBuf::new());
        assert_eq!(Pattern::of(Path::new("/var/**")).unwrap().parts.len(), 2);
        assert_eq!(Pattern::of(Path::new("logs/a.csv")), None);
    }

    /// The same by trying everything.
    fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                (0..=name.len()).any(|taken| matches_slowly(rest, &name[taken..]))
            }
            ([b'?', rest @ ..], [_, name @ ..]) => matches_slowly(rest, name),
            ([same, rest @ ..], [other, name @ ..]) if same == other => matches_slowly(rest, name),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_star_reaches_as_far_as_it_has_to(pattern in "[ab*?]{0,7}", name in "[ab]{0,7}") {
            let expected = matches_slowly(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(&pattern, &name), expected);
        }
    }
}
