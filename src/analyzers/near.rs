//! Which name was probably meant.

/// Names longer than this are not compared.
const NAME_CHARS_MAX: usize = 80;
/// Most candidates that are compared.
const CANDIDATES_MAX: usize = 500;

/// The closest of the candidates, if it is a slip of the hand away: two edits, or one part of a name more
/// or less.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .take(CANDIDATES_MAX)
        .filter(|candidate| *candidate != wanted)
        .map(|candidate| (distance(wanted, candidate), candidate))
        .filter(|(distance, candidate)| {
            let short = wanted.chars().count().min(candidate.chars().count());
            *distance <= (short / 4).min(2)
                || (short >= 4 && (extends(wanted, candidate) || extends(candidate, wanted)))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// [`nearest`] as the end of a sentence about a name that does not exist; empty when nothing is near.
pub(crate) fn hint<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(wanted, candidates).map(|near| format!("; there is {near:?}")).unwrap_or_default()
}

fn extends(long: &str, short: &str) -> bool {
    long.strip_prefix(short).or_else(|| long.strip_suffix(short)).is_some_and(|rest| {
        rest.starts_with(['-', '_', '.']) || rest.ends_with(['-', '_', '.']) || rest.chars().all(|c| c.is_ascii_digit())
    })
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > NAME_CHARS_MAX || b.len() > NAME_CHARS_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_and_nothing_far() {
        let names = ["cart-config", "orders-config", "redis"];
        for (wanted, want) in [
            ("cart-confg", Some("cart-config")),
            ("cart-config-v2", Some("cart-config")),
            ("redis2", Some("redis")),
            ("payments", None),
            ("cart-config", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, names.into_iter()), want, "{wanted}");
        }
    }
}
