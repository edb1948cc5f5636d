//! How far apart two words are, for messages that say which one was probably meant.

/// Longest word that is compared, bytes; longer ones are far from everything.
pub const WORD_BYTES_MAX: usize = 64;

/// Edits between two words, a swap of neighbours counting as one (optimal string alignment). By
/// bytes: the names it is for are ASCII. `usize::MAX` where a word is too long to be meant.
pub fn edits(left: &str, right: &str) -> usize {
    let (a, b) = (left.as_bytes(), right.as_bytes());
    if a.len() > WORD_BYTES_MAX || b.len() > WORD_BYTES_MAX {
        return usize::MAX;
    }
    let mut older = [0usize; WORD_BYTES_MAX + 1];
    let mut before: [usize; WORD_BYTES_MAX + 1] = std::array::from_fn(|index| index);
    for i in 1..=a.len() {
        let mut row = [i; WORD_BYTES_MAX + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (before[j] + 1).min(row[j - 1] + 1).min(before[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = std::mem::replace(&mut before, row);
    }
    before[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_edit_and_long_words_are_far() {
        let pairs = [("max", "max", 0), ("max", "mxa", 1), ("max", "mx", 1), ("", "abc", 3)];
        for (left, right, edits_between) in pairs {
            assert_eq!(edits(left, right), edits_between, "{left} {right}");
            assert_eq!(edits(right, left), edits_between, "{right} {left}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits(&"x".repeat(WORD_BYTES_MAX + 1), "x"), usize::MAX);
    }
}
