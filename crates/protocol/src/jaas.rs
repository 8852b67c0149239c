//! `sasl.jaas.config`: one login module in Java's JAAS syntax, read strictly.
//!
//! `class flag name=value name="value" ... ;` with Java's comments. No error shows a value.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

use crate::Password;

/// A login module with its options.
#[derive(Debug, Clone)]
pub struct LoginModule {
    /// The Java class, with its package.
    pub class: String,
    /// Its options, whose values may be secrets.
    pub options: BTreeMap<String, Password>,
}

const CONTROL_FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

impl LoginModule {
    /// Reads the text (Kafka's `JaasConfig`, by the grammar of `javax.security.auth.login`).
    ///
    /// # Errors
    /// Says what is wrong and after which option, without any value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Tokens { letters: text.chars().peekable() };
        let class = match tokens.next()? {
            Some(Token::Word(class)) => class.to_string(),
            Some(Token::Equals | Token::Semicolon) | None => {
                return Err("it must begin with the class of a login module".to_owned());
            }
        };
        match tokens.next()? {
            Some(Token::Word(flag))
                if CONTROL_FLAGS.iter().any(|known| known.eq_ignore_ascii_case(&flag)) => {}
            _ => return Err(format!("the class must be followed by {}", CONTROL_FLAGS.join(", "))),
        }
        let mut options = BTreeMap::new();
        let mut last = "the flag".to_owned();
        loop {
            let name = match tokens.next()? {
                Some(Token::Semicolon) => break,
                Some(Token::Word(name)) => name.to_string(),
                Some(Token::Equals) => return Err(format!("there is a = after {last}")),
                None => return Err(format!("there is no ; at the end, after {last}")),
            };
            let unfinished = || format!("after {last} there must be name=\"value\" or ;");
            let (Some(Token::Equals), Some(Token::Word(value))) = (tokens.next()?, tokens.next()?)
            else {
                return Err(unfinished());
            };
            if options.insert(name.clone(), Password::new(value.as_str())).is_some() {
                return Err(format!("the option {name} is there twice"));
            }
            last = format!("the option {name}");
        }
        if tokens.next()?.is_some() {
            return Err("it has more than one login module".to_owned());
        }
        Ok(Self { class, options })
    }

    /// The class without its package.
    #[must_use]
    pub fn simple_class(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    /// An option that must be there.
    ///
    /// # Errors
    /// It isn't; says which one of which module.
    pub fn required(&self, name: &str) -> Result<&Password, String> {
        let missing = || format!("{} needs the option {name}", self.simple_class());
        self.options.get(name).ok_or_else(missing)
    }

    /// An option as plain text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(Password::reveal)
    }

    /// Refuses options that nobody would look at.
    ///
    /// # Errors
    /// Names the first of them.
    pub fn check_options(&self, is_known: impl Fn(&str) -> bool) -> Result<(), String> {
        let ignored_by_java = ["serviceName", "debug"];
        let unknown = |name: &&String| !is_known(name) && !ignored_by_java.contains(&name.as_str());
        match self.options.keys().find(unknown) {
            Some(name) => Err(format!("{} has no option {name}", self.simple_class())),
            None => Ok(()),
        }
    }
}

/// Whether the text ends inside of a quoted value: what is put in there is part of the value.
#[must_use]
pub fn ends_within_quotes(text: &str) -> bool {
    let mut tokens = Tokens { letters: text.chars().peekable() };
    loop {
        match tokens.next() {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(reason) => return reason == UNCLOSED,
        }
    }
}

/// The text as it is to be written in quotation marks, of either kind, so that it is read as it is.
#[must_use]
pub fn escape(text: &str) -> Zeroizing<String> {
    let mut escaped = Zeroizing::new(String::with_capacity(2 * text.len()));
    for letter in text.chars() {
        if matches!(letter, '"' | '\'' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

const UNCLOSED: &str = "a quotation mark has no counterpart";

#[derive(Debug)]
enum Token {
    Word(Zeroizing<String>),
    Equals,
    Semicolon,
}

struct Tokens<'a> {
    letters: Peekable<Chars<'a>>,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, String> {
        self.skip_blanks()?;
        let Some(letter) = self.letters.next() else { return Ok(None) };
        match letter {
            '=' => Ok(Some(Token::Equals)),
            ';' => Ok(Some(Token::Semicolon)),
            '"' | '\'' => self.quoted(letter).map(Some),
            letter if is_word_letter(letter) => {
                let mut word = Zeroizing::new(String::from(letter));
                while let Some(letter) = self.letters.next_if(|letter| is_word_letter(*letter)) {
                    word.push(letter);
                }
                Ok(Some(Token::Word(word)))
            }
            _ => Err("a value with anything but letters, digits and - _ $ . must be in \
                      quotation marks"
                .to_owned()),
        }
    }

    /// Blanks, and comments as Java has them.
    fn skip_blanks(&mut self) -> Result<(), String> {
        loop {
            while self.letters.next_if(|letter| letter.is_whitespace()).is_some() {}
            if self.letters.peek() != Some(&'/') {
                return Ok(());
            }
            let mut ahead = self.letters.clone();
            ahead.next();
            match ahead.next() {
                Some('/') => while self.letters.next_if(|letter| *letter != '\n').is_some() {},
                Some('*') => {
                    self.letters = ahead;
                    let mut last = ' ';
                    loop {
                        let letter = self.letters.next().ok_or("a comment has no end")?;
                        if last == '*' && letter == '/' {
                            break;
                        }
                        last = letter;
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// The escapes of Java's `StreamTokenizer`; a line's end ends no text, but is refused.
    fn quoted(&mut self, mark: char) -> Result<Token, String> {
        let mut word = Zeroizing::new(String::new());
        loop {
            match self.letters.next() {
                None | Some('\n' | '\r') => {
                    return Err(UNCLOSED.to_owned());
                }
                Some('\\') => word.push(self.escaped()?),
                Some(letter) if letter == mark => return Ok(Token::Word(word)),
                Some(letter) => word.push(letter),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let letter = self.letters.next().ok_or(UNCLOSED)?;
        Ok(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0'..='7' => {
                let mut code = letter.to_digit(8).unwrap_or_default();
                let digits_max = if letter <= '3' { 2 } else { 1 };
                for _ in 0..digits_max {
                    let Some(digit) = self.letters.next_if(|letter| letter.is_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit.to_digit(8).unwrap_or_default();
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        })
    }
}

fn is_word_letter(letter: char) -> bool {
    letter.is_alphanumeric() || "-_$./:@+%*!#&~".contains(letter) || letter > '\u{a0}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

    #[test]
    fn a_login_module_is_read_as_java_reads_it() {
        let text = format!(
            "{PLAIN} required // who\n  username='al\\'ice' /* and */ password=\"p\\\"w;=\\101\" \
             user_x=y;"
        );
        let module = LoginModule::parse(&text).unwrap();
        assert_eq!((&*module.class, module.simple_class()), (PLAIN, "PlainLoginModule"));
        assert_eq!(module.text("username"), Some("al'ice"));
        assert_eq!(module.text("password"), Some("p\"w;=A"));
        assert_eq!(module.options.len(), 3);
        assert!(!format!("{module:?}").contains("al'ice"));
    }

    #[rstest]
    #[case("", "it must begin with the class of a login module")]
    #[case("A", "the class must be followed by required, requisite, sufficient, optional")]
    #[case("A needed;", "the class must be followed by required, requisite, sufficient, optional")]
    #[case("A required p=hunter2", "there is no ; at the end, after the option p")]
    #[case("A required p;", "after the flag there must be name=\"value\" or ;")]
    #[case("A required p=\"hunter2;", "a quotation mark has no counterpart")]
    #[case("A required p=a p=b;", "the option p is there twice")]
    #[case("A required; B required;", "it has more than one login module")]
    #[case("A required p=hunter2 = x;", "there is a = after the option p")]
    #[case("A required /* p=hunter2;", "a comment has no end")]
    fn what_is_wrong_is_said_without_the_secret(#[case] text: &str, #[case] sentence: &str) {
        assert_eq!(LoginModule::parse(text).unwrap_err(), sentence);
        assert!(!sentence.contains("hunter2"));
    }

    #[rstest]
    #[case("A required p=\"", true)]
    #[case("A required p='x\\'y", true)]
    #[case("A required p='x\\", true)]
    #[case("A required // it's\n p=", false)]
    #[case("A required /* it's", false)]
    #[case("A required p=\"x\" q=", false)]
    #[case("A required ? p=\"", false)]
    #[case("", false)]
    fn a_text_that_ends_within_quotes_is_known(#[case] text: &str, #[case] is_within: bool) {
        assert_eq!(ends_within_quotes(text), is_within);
    }

    proptest! {
        #[test]
        fn an_escaped_value_is_read_as_it_was(value in "[^\r\n]{0,40}", mark in "[\"']") {
            let text = format!("A required p={mark}{}{mark};", &*escape(&value));
            let module = LoginModule::parse(&text).unwrap();
            prop_assert_eq!(module.text("p"), Some(&*value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9 =;\"'\\\\/*\n,?]{0,60}") {
            let _ = LoginModule::parse(&text);
        }
    }
}
