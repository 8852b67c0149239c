//! The name someone most likely meant.

/// The known name that takes the fewest edits to get to, if they are few for its length.
pub fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let edits_max = (wanted.chars().count() / 3).max(1);
    known
        .map(|name| (edits(&wanted, &name.to_lowercase()), name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// How many characters have to be added, removed or changed to get from one word to the other
/// (Levenshtein's distance), a row of the table at a time.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_isnt() {
        let known = || ["user_id", "user_session", "price"].into_iter();
        assert_eq!(nearest("userid", known()), Some("user_id"));
        assert_eq!(nearest("USER_ID", known()), Some("user_id"));
        assert_eq!(nearest("prize", known()), Some("price"));
        assert_eq!(nearest("quantity", known()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
