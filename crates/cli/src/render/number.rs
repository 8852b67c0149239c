//! Which texts are numbers as JSON writes them, so that they may pass unchanged.

/// Whether a text is an integer in JSON's grammar that an i64 holds: no plus, no leading zero, no
/// minus zero. Such a text passes through digit by digit, so 19 digits stay exact.
pub fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let well_formed = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    well_formed
        && (digits.len() < 19
            || std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok()))
}

/// Whether a text is a number in JSON's grammar (RFC 8259, section 6).
#[inline]
pub fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let whole = leading_digits(digits);
    if whole == 0 || (whole > 1 && digits[0] == b'0') {
        return false;
    }
    let mut rest = &digits[whole..];
    if let Some(after) = rest.strip_prefix(b".") {
        let fraction = leading_digits(after);
        if fraction == 0 {
            return false;
        }
        rest = &after[fraction..];
    }
    rest.is_empty() || is_exponent(rest)
}

#[inline]
fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_exponent(text: &[u8]) -> bool {
    let [b'e' | b'E', rest @ ..] = text else { return false };
    let digits = rest.strip_prefix(b"+").or(rest.strip_prefix(b"-")).unwrap_or(rest);
    !digits.is_empty() && leading_digits(digits) == digits.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_that_stay_exact() {
        for yes in ["0", "7", "-12", "2103807459595387724", "9223372036854775807"] {
            assert!(is_integer(yes.as_bytes()), "{yes}");
        }
        for no in ["", "-", "007", "-0", "+5", "1.0", "9223372036854775808", "1e3", " 1", "x"] {
            assert!(!is_integer(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn the_grammar_knows_no_largest_number() {
        assert!(is_number(b"1e400") && !is_number(b"1e310+"));
    }

    proptest! {
        #[test]
        fn a_number_is_what_serde_json_reads_as_one(text in "[-+.eE0-9]{0,8}") {
            let number: Result<serde_json::Number, _> = serde_json::from_str(&text);
            // What no f64 holds serde_json refuses before it has seen the end of it.
            let too_large = number.as_ref().is_err_and(|error| error.to_string().contains("range"));
            prop_assume!(!too_large);
            prop_assert_eq!(is_number(text.as_bytes()), number.is_ok(), "{}", text);
        }
    }
}
