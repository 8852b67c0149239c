//! `ssl.principal.mapping.rules`: from the name in a certificate to a user (Kafka's
//! `SslPrincipalMapper`, KIP-371).

use regex::Regex;

/// Rules in order; the first that matches gives the user.
#[derive(Debug, Clone)]
pub(crate) struct PrincipalRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    /// The name as it is.
    Default,
    Rewrite {
        pattern: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

impl PrincipalRules {
    /// Reads `RULE:pattern/replacement/[LU]` and `DEFAULT`, separated by commas.
    ///
    /// # Errors
    /// Says which rule is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = match rest.strip_prefix("RULE:") {
                Some(rule) => rewrite(rule)?,
                None => {
                    let after = rest.strip_prefix("DEFAULT").ok_or_else(|| {
                        format!("{rest:.40} begins with neither RULE: nor DEFAULT")
                    })?;
                    (Rule::Default, after)
                }
            };
            rules.push(rule);
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(format!("{after:.40} follows a rule without a comma")),
            };
        }
        Ok(Self { rules })
    }

    /// The user of a distinguished name; `None` if no rule matches.
    pub(crate) fn user(&self, name: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| match rule {
            Rule::Default => Some(name.to_owned()),
            Rule::Rewrite { pattern, replacement, case } => {
                let captures = pattern.captures(name)?;
                let mut user = String::new();
                captures.expand(replacement, &mut user);
                Some(match case {
                    Case::Kept => user,
                    Case::Lower => user.to_lowercase(),
                    Case::Upper => user.to_uppercase(),
                })
            }
        })
    }
}

/// One rule after its `RULE:`, and what follows it.
fn rewrite(text: &str) -> Result<(Rule, &str), String> {
    let (pattern, rest) = until_slash(text)?;
    let (replacement, rest) = until_slash(rest)?;
    let (case, rest) = match rest.chars().next() {
        Some('L') => (Case::Lower, &rest[1..]),
        Some('U') => (Case::Upper, &rest[1..]),
        _ => (Case::Kept, rest),
    };
    // As Java's `matches`: all of the name.
    let pattern = Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| format!("RULE:{pattern:.40}: {error}"))?;
    Ok((Rule::Rewrite { pattern, replacement: braced(replacement), case }, rest))
}

/// The text up to a `/` that no `\` stands before, and what follows it.
fn until_slash(text: &str) -> Result<(&str, &str), String> {
    let mut is_escaped = false;
    for (index, letter) in text.char_indices() {
        match letter {
            '/' if !is_escaped => return Ok((&text[..index], &text[index + 1..])),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    Err(format!("RULE:{text:.40} is not pattern/replacement/"))
}

/// `$1x` is group 1 and an x in Java; here it would be a group named `1x`.
fn braced(replacement: &str) -> String {
    let mut braced = String::with_capacity(replacement.len() + 4);
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        braced.push(letter);
        if letter != '$' || !letters.peek().is_some_and(char::is_ascii_digit) {
            continue;
        }
        braced.push('{');
        while let Some(digit) = letters.next_if(char::is_ascii_digit) {
            braced.push(digit);
        }
        braced.push('}');
    }
    braced
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The examples of KIP-371.
    const RULES: &str = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,\
        RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
        RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT";

    #[rstest]
    #[case(
        "CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown",
        "serviceuser"
    )]
    #[case("CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin")]
    #[case("OU=x,CN=Alice.B", "alice.b")]
    #[case("O=nobody", "O=nobody")]
    fn the_first_rule_that_matches_gives_the_user(#[case] name: &str, #[case] user: &str) {
        assert_eq!(PrincipalRules::parse(RULES).unwrap().user(name).as_deref(), Some(user));
    }

    #[test]
    fn groups_end_where_javas_do_and_no_match_is_nobody() {
        let rules = PrincipalRules::parse("RULE:^CN=(\\w+)\\/x$/$1st/U").unwrap();
        assert_eq!(rules.user("CN=fir/x").as_deref(), Some("FIRST"));
        assert_eq!(rules.user("CN=fir/xy"), None);
    }

    #[rstest]
    #[case("RULE:^CN=(.*$")]
    #[case("RULE:^CN=(.*$/$1/")]
    #[case("RULE:a/b/ RULE:c/d/")]
    #[case("SOMETHING")]
    fn what_is_no_rule_is_refused(#[case] text: &str) {
        assert!(PrincipalRules::parse(text).is_err());
    }
}
